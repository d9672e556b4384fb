"""A node runs the project's images, and tests and pods reach each other by their addresses."""

import http.server
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

import workloads
from kit.cluster import Cluster
from kit.namespaces import NAMESPACES
from kit.processes import wait_for
from tiergarten_llama import models

pytestmark = pytest.mark.level(3)

Image = Callable[[str], str]
PORT = 8080
# Each image holds its own third-party packages, beside all of the project's code.
HOLDS = {
    "operator": "kopf, kubernetes_asyncio, prometheus_client, tiergarten_api",
    "router": "fastapi, httptools, redis, uvicorn, tiergarten_router",
    "fetch": "httpx, tiergarten_fetch.program",
    "llama": "xllamacpp, tiergarten_llama.server",
}
ASKS_THE_API_SERVER = """\
import os, ssl, urllib.request
account = "/var/run/secrets/kubernetes.io/serviceaccount"
tls = ssl.create_default_context(cafile=account + "/ca.crt")
token = open(account + "/token").read()
url = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}/version"
request = urllib.request.Request(url, headers={"Authorization": "Bearer " + token})
print(urllib.request.urlopen(request, context=tls).status)
"""


@pytest.fixture
def restricted(cluster: Cluster, namespace: str) -> str:
    """The test's namespace, in which only pods that ask for nothing special may run."""
    path = f"{NAMESPACES}/{namespace}"
    headers = {"Content-Type": "application/merge-patch+json"}
    cluster.api.patch(path, json=workloads.RESTRICTED, headers=headers).raise_for_status()
    return namespace


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("model") / "small.gguf"
    models.write_scripted(file, "small")
    return file


@pytest.fixture
def server_of_the_test(cluster: Cluster, tmp_path: Path) -> Iterator[str]:
    """The URL of a web server in this process, as pods reach it."""

    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    (tmp_path / "greeting").write_text("hello from the test")
    with http.server.ThreadingHTTPServer((cluster.host_address, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{cluster.host_address}:{server.server_port}"
        server.shutdown()
        thread.join()


def python(code: str) -> list[str]:
    return ["python", "-c", code]


def test_a_llama_pod_answers_a_chat(
    cluster: Cluster, restricted: str, node_image: Image, model: Path
) -> None:
    cluster.claim(restricted, "models", {"tier/small.gguf": model})
    command = ["tiergarten-llama-server", "-m", "/data/tier/small.gguf", "--host", "0.0.0.0"]  # noqa: S104 - in the pod
    spec = workloads.pod_spec(node_image("llama"), [*command, "--port", f"{PORT}"], "models")
    probe = {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": 1}
    spec["containers"][0]["readinessProbe"] = probe

    address = workloads.deploy(cluster, restricted, "llama", spec)

    question = {"messages": [{"role": "user", "content": "What is a pod?"}]}
    answer = httpx.post(
        f"http://{address}:{PORT}/v1/chat/completions", json=question, timeout=30, trust_env=False
    )
    text = answer.json()["choices"][0]["message"]["content"]
    assert text.startswith("The small model says that an operator watches")
    inside = cluster.exec(["curl", "-s", f"http://{address}:{PORT}/health"])
    assert "ok" in inside


@pytest.mark.parametrize("name", HOLDS)
def test_an_image_holds_what_its_program_needs(
    cluster: Cluster, restricted: str, node_image: Image, name: str
) -> None:
    spec = workloads.pod_spec(node_image(name), python(f"import {HOLDS[name]}; print('all here')"))

    assert workloads.run(cluster, restricted, spec) == "all here\n"


def test_a_pod_reaches_a_server_of_the_test(
    cluster: Cluster, restricted: str, node_image: Image, server_of_the_test: str
) -> None:
    command = ["curl", "-s", f"{server_of_the_test}/greeting"]
    spec = workloads.pod_spec(node_image("fetch"), command)

    assert workloads.run(cluster, restricted, spec) == "hello from the test"


def test_a_pod_reaches_the_api_server_with_its_token(
    cluster: Cluster, restricted: str, node_image: Image
) -> None:
    spec = workloads.pod_spec(node_image("fetch"), python(ASKS_THE_API_SERVER))

    assert workloads.run(cluster, restricted, spec) == "200\n"


def test_a_service_is_reached_by_its_address(
    cluster: Cluster, restricted: str, node_image: Image
) -> None:
    serve = ["python", "-m", "http.server", f"{PORT}", "--directory", "/usr/share/ca-certificates"]
    spec = workloads.pod_spec(node_image("fetch"), serve)
    spec["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    workloads.deploy(cluster, restricted, "web", spec)
    ports = [{"port": 80, "targetPort": PORT}]
    body = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}}
    service = workloads.post(cluster, f"{NAMESPACES}/{restricted}/services", body)
    url = f"http://{service['spec']['clusterIP']}/"

    def answers() -> bool:
        try:
            return httpx.get(url, timeout=1, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    wait_for("the service to answer this process", answers, 15)
    assert cluster.exec(["curl", "-sf", url])


@pytest.mark.level(3, alone=True)
def test_pods_run_on_while_kubelet_and_containerd_restart(
    cluster: Cluster, restricted: str, node_image: Image
) -> None:
    spec = workloads.pod_spec(node_image("fetch"), ["sleep", "600"])
    workloads.deploy(cluster, restricted, "sleeper", spec)
    before = workloads.pods_of(cluster, restricted, "sleeper")

    with cluster.frozen("kubelet"):
        cluster.restart("containerd")
    cluster.restart("kubelet")

    after = workloads.pods_of(cluster, restricted, "sleeper")
    assert [p["metadata"]["uid"] for p in after] == [p["metadata"]["uid"] for p in before]
    assert [s["restartCount"] for p in after for s in p["status"]["containerStatuses"]] == [0]
    said = workloads.run(
        cluster, restricted, workloads.pod_spec(node_image("fetch"), ["echo", "still here"])
    )
    assert said == "still here\n"


@pytest.mark.level(3, alone=True)
def test_healing_leaves_no_part_behind_an_api_server_that_was_away(
    cluster: Cluster, restricted: str, node_image: Image
) -> None:
    spec = workloads.pod_spec(node_image("fetch"), ["sleep", "600"])
    workloads.deploy(cluster, restricted, "sleeper", spec)
    (pod,) = workloads.pods_of(cluster, restricted, "sleeper")
    before = cluster.register.all()

    cluster.kill("kube-apiserver")
    cluster.heal()

    healed = cluster.register.all()
    watching = {"kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"}
    assert {it for it in healed if healed[it] != before[it]} == {"kube-apiserver", *watching}
    cluster.heal()  # nothing was away since
    assert cluster.register.all() == healed
    (same,) = workloads.pods_of(cluster, restricted, "sleeper")
    assert same["metadata"]["uid"] == pod["metadata"]["uid"]


def test_a_volume_is_emptied_and_offered_again(
    cluster: Cluster, restricted: str, model: Path
) -> None:
    cluster.claim(restricted, "models", {"small.gguf": model})
    claim = f"{NAMESPACES}/{restricted}/persistentvolumeclaims/models"
    volume = cluster.api.get(claim).json()["spec"]["volumeName"]
    path = f"/api/v1/persistentvolumes/{volume}"
    cluster.api.delete(claim).raise_for_status()

    def is_in(phase: str) -> bool:
        return bool(cluster.api.get(path).json().get("status", {}).get("phase") == phase)

    wait_for("the volume to be released", lambda: is_in("Released"), 15)
    cluster.heal()

    wait_for("the volume to be offered again", lambda: is_in("Available"), 15)
    assert list((cluster.plan.folder / "volumes" / volume).iterdir()) == []
