"""Pods that do not come up on a real node: each says why in the tier's status, and is mended."""

import textwrap
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest

import nodes
from kit.cluster import Cluster
from nodes import NodeWorld
from operating import Manifest
from tiergarten_operator.facts import TIER, Kind

pytestmark = [
    pytest.mark.level(3),
    pytest.mark.usefixtures("cluster"),
    pytest.mark.timeout(180),
]
SLICES = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
LOADS = [{"name": "LOADS", "value": "until told"}]
# llama-server, which loads for as long as a test wants: 503 until somebody posts.
SERVER = textwrap.dedent(
    """\
    import http.server, os, signal, sys

    class Loading(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(503)
            self.end_headers()

        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            self.server.told = True

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if os.environ.get("LOADS"):
        with http.server.HTTPServer(("", 8080), Loading) as server:
            server.told = False
            while not server.told:
                server.handle_request()
    program = "tiergarten-llama-server"
    os.execvp(program, [program, *sys.argv[1:]])
    """
)


@pytest.fixture(scope="module")
def node_settings() -> dict[str, Any]:
    return {"server_command": ("python", "-c", SERVER), "pull_seconds": 2}


@pytest.fixture(scope="module")
def world(node: NodeWorld, clusters: Any, scripted_model: Callable[[str], Path]) -> NodeWorld:
    """All tiers of this module, started side by side; none comes up."""
    found: Cluster = clusters.at(3)
    found.claim(node.namespace, "models", {"small.gguf": scripted_model("small")})

    def put(name: str, runtime: Manifest | None = None, **spec: Any) -> None:
        source = nodes.volume("models", "small.gguf")
        node.put(nodes.tier(name, source, runtime=nodes.SMALL | (runtime or {}), **spec))

    put("late", {"extraEnv": LOADS}, rollout={"startupTimeoutSeconds": 10})
    put("slow", {"extraEnv": LOADS})
    put("hungry", {"contextLength": 131_072}, resources={"limits": {"memory": "48Mi"}})
    put("broken", {"extraArgs": ["--no-such-flag"]})
    put("imageless", {"image": "docker.io/local/none:1", "imagePullPolicy": "Never"})
    put("homeless", scheduling={"nodeSelector": {"there": "is-none"}})
    return node


def test_a_pod_that_loads_is_no_ready_endpoint_until_its_health_is_good(world: NodeWorld) -> None:
    world.wait("its server", lambda: health(world) == HTTPStatus.SERVICE_UNAVAILABLE)
    world.wait_for_reason("slow", "Ready", "Loading")
    assert ready_endpoints(world, "slow") == [False]

    httpx.post(url(world), trust_env=False).raise_for_status()

    world.wait_for_reason("slow", "Ready", "Serving")
    world.wait("a ready endpoint", lambda: ready_endpoints(world, "slow") == [True])


def test_a_pod_without_a_node_is_unschedulable_until_one_fits(world: NodeWorld) -> None:
    world.wait_for_reason("homeless", "Ready", "Unschedulable")
    assert "node affinity/selector" in available(world, "homeless")

    world.change(TIER, "homeless", {"spec": {"scheduling": {"nodeSelector": None}}})

    world.wait_for_reason("homeless", "Ready", "Serving")
    assert ("Warning", "Unschedulable") in world.told("homeless")


def test_a_pod_without_its_image_says_which(world: NodeWorld) -> None:
    world.wait_for_reason("imageless", "Ready", "ImagePull")
    assert "docker.io/local/none:1" in available(world, "imageless")

    change = {"image": None, "imagePullPolicy": None}
    world.change(TIER, "imageless", {"spec": {"runtime": change}})

    world.wait_for_reason("imageless", "Ready", "Serving")


def test_a_pod_that_ends_again_and_again_says_its_last_line(world: NodeWorld) -> None:
    world.wait_for_reason("broken", "Ready", "CrashLoop")
    assert "--no-such-flag" in available(world, "broken")

    world.change(TIER, "broken", {"spec": {"runtime": {"extraArgs": None}}})

    world.wait_for_reason("broken", "Ready", "Serving")


def test_a_pod_that_needs_more_memory_than_its_limit_is_told_apart(world: NodeWorld) -> None:
    world.wait_for_reason("hungry", "Ready", "OOMKilled")
    assert "lower contextLength" in available(world, "hungry")

    world.change(TIER, "hungry", {"spec": {"runtime": {"contextLength": 1024}}})

    world.wait_for_reason("hungry", "Ready", "Serving")


def test_a_start_that_takes_longer_than_its_deadline_is_told_and_mended(world: NodeWorld) -> None:
    world.wait_for_reason("late", "Progressing", "DeadlineExceeded")
    assert "startupTimeoutSeconds" in world.conditions("late")["Progressing"]["message"]
    assert world.reasons("late")["Ready"] in {"Loading", "CrashLoop"}

    world.change(TIER, "late", {"spec": {"runtime": {"extraEnv": None}}})

    world.wait_for_reason("late", "Ready", "Serving")
    assert world.conditions("late")["Progressing"]["status"] == "True"


def health(world: NodeWorld) -> int:
    """Return how the server that loads answers, 0 while it does not."""
    try:
        return httpx.get(f"{url(world)}/health", trust_env=False).status_code
    except httpx.HTTPError:
        return 0


def available(world: NodeWorld, tier: str) -> str:
    return str(world.conditions(tier)["Available"]["message"])


def url(world: NodeWorld) -> str:
    found = world.pods("slow")
    assert found, "no pod yet"
    return nodes.url(found[0])


def ready_endpoints(world: NodeWorld, tier: str) -> list[bool]:
    """Return of each endpoint of a tier whether it is ready, as the router sees it."""
    slices = [
        it
        for it in world.all(SLICES)
        if it["metadata"]["labels"].get("tiergarten.dev/tier") == tier
    ]
    return [it["conditions"]["ready"] for found in slices for it in found.get("endpoints") or ()]
