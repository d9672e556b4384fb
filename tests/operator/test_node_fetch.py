"""Models that are fetched into a claim, on a real node: what is served, and what never is."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hub
import nodes
from hub import REPO, Hub
from hubs import Hubs
from nodes import NodeWorld
from operating import Manifest
from tiergarten_operator.facts import CLAIM, DEPLOYMENT, JOB, SECRET, TIER

pytestmark = [
    pytest.mark.level(3),
    pytest.mark.usefixtures("cluster"),
    pytest.mark.timeout(180),
]
FILE = "small.gguf"
TOKEN = "hf_the-secret-of-the-test"  # noqa: S105 -- no real one
HALF = 4_500_000
HUGE = 1 << 50


@pytest.fixture(scope="module")
def model(scripted_model: Callable[[str], Path]) -> bytes:
    return scripted_model("small").read_bytes()


@pytest.fixture(scope="module")
def tiny(random_model: Callable[[str], Path]) -> bytes:
    return random_model("tiny").read_bytes()


@pytest.fixture(scope="module")
def source(hubs: Hubs, model: bytes) -> Hub:
    """The hub that the operator fetches from."""
    return hubs.open({FILE: model}, token=TOKEN)


@pytest.fixture(scope="module")
def go_on(hubs: Hubs, source: Hub) -> Callable[[], object]:
    """Let the download go on, which stops halfway until then."""
    event, go = hubs.event()
    source.gets.append(hub.hold(HALF, event))
    return go


@pytest.fixture(scope="module")
def node_settings(source: Hub) -> dict[str, Any]:
    return {"hub_endpoint": source.url, "progress_seconds": 0.5}


@pytest.fixture(scope="module")
def locked(hubs: Hubs, tiny: bytes) -> Hub:
    """A web server that wants a token."""
    return hubs.open({FILE: tiny}, token=TOKEN)


@pytest.fixture(scope="module")
def world(node: NodeWorld, hubs: Hubs, locked: Hub, tiny: bytes, go_on: object) -> NodeWorld:  # noqa: ARG001 -- the hub must be slow before the first download
    """All tiers of this module, started side by side."""
    opened, cramped = hubs.open({FILE: tiny}), hubs.open({FILE: tiny})
    cramped.heads += [hub.edit(rb"Content-Length: \d+", f"Content-Length: {HUGE}".encode())] * 9
    node.make(secret("hub", TOKEN))
    node.make(secret("web", "wrong"))
    token = {"name": "hub", "key": "value"}
    good = {"huggingFace": {"repo": REPO, "tokenSecretRef": token}, "files": [{"name": FILE}]}
    node.put(nodes.tier("good", good))
    node.put(nodes.tier("wrong", web(opened, "b" * 64)))
    node.put(nodes.tier("missing", web(opened, hub.sha256(tiny), "nothing.gguf")))
    header: Manifest = {"headerSecretRef": {"name": "web", "key": "value"}}
    node.put(nodes.tier("locked", web(locked, hub.sha256(tiny), **header)))
    node.put(nodes.tier("cramped", web(cramped, hub.sha256(tiny))))
    return node


def test_bytes_that_have_come_are_told_while_the_rest_is_on_its_way(
    world: NodeWorld, model: bytes
) -> None:
    def told() -> bool:
        (file,) = world.there(TIER, "good")["status"]["model"]["files"]
        return bool(len(model) == file["sizeBytes"] > file["fetchedBytes"] > HALF // 2)

    world.wait("the bytes of the first half", told)

    condition = world.conditions("good")["ModelAvailable"]
    assert condition["reason"] == "Fetching"
    assert f"of {len(model) / 1e6:.1f} MB" in condition["message"]
    assert world.get(DEPLOYMENT, "good") is None


def test_a_fetch_whose_pod_dies_is_resumed_and_its_model_served(
    world: NodeWorld, source: Hub, go_on: Callable[[], object], model: bytes
) -> None:
    (pod,) = world.pods("good", "fetch")
    assert world.evict(pod["metadata"]["name"]) == 201
    world.wait("another download", lambda: len(source.downloads) > 1)
    go_on()

    world.wait_for_reason("good", "ModelAvailable", "Verified")
    world.wait_for_reason("good", "Ready", "Serving")

    assert source.ranges[-1] not in (None, "bytes=0-")
    answer = nodes.ask(world.address("good"), "What is a pod?")
    assert nodes.content(answer).startswith("The small model says")
    status = world.there(TIER, "good")["status"]
    assert status["model"]["resolvedRevision"] == source.commit
    (file,) = status["model"]["files"]
    assert file == {
        "name": FILE,
        "sha256": hub.sha256(model),
        "sizeBytes": len(model),
        "fetchedBytes": len(model),
    }
    assert status["memory"]["weightsBytes"] > 4_000_000
    assert world.there(CLAIM, "good-model")["status"]["phase"] == "Bound"
    assert source.secrets == {f"Bearer {TOKEN}"}
    everything = world.everything()
    assert TOKEN not in everything


def test_a_file_with_another_sha256_is_never_served_and_its_fetch_ends_at_once(
    world: NodeWorld,
) -> None:
    world.wait_for_reason("wrong", "Ready", "ChecksumMismatch")

    message = world.conditions("wrong")["ModelAvailable"]["message"]
    assert "b" * 64 in message
    assert "tiergarten.dev/refetch" in message
    assert world.get(DEPLOYMENT, "wrong") is None
    assert len(world.pods("wrong", "fetch")) == 1
    assert ("Warning", "ChecksumMismatch") in world.told("wrong")


def test_a_file_that_is_not_there_is_told_from_one_that_may_not_be_read(world: NodeWorld) -> None:
    world.wait_for_reason("missing", "Ready", "NotFound")
    world.wait_for_reason("locked", "Ready", "Unauthorized")

    assert "nothing.gguf" in world.conditions("missing")["ModelAvailable"]["message"]
    assert "headerSecretRef" in world.conditions("locked")["ModelAvailable"]["message"]


def test_a_model_that_the_disk_cannot_hold_is_refused_before_its_first_byte(
    world: NodeWorld,
) -> None:
    world.wait_for_reason("cramped", "Ready", "NoSpace")

    assert "cache.size" in world.conditions("cramped")["ModelAvailable"]["message"]


def test_a_token_that_is_corrected_is_used_by_the_next_try(world: NodeWorld, locked: Hub) -> None:
    world.wait_for_reason("locked", "Ready", "Unauthorized")
    data = {"data": {"value": encoded(f"Bearer {TOKEN}")}}
    world.change(SECRET, "web", data)

    world.wait_for_reason("locked", "ModelAvailable", "Verified")

    assert f"Bearer {TOKEN}" in locked.secrets
    (job,) = [it for it in world.all(JOB) if it["metadata"]["name"].startswith("locked-")]
    assert job["status"]["failed"] >= 1


def secret(name: str, value: str) -> Manifest:
    metadata = {"name": name}
    data = {"value": encoded(value)}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def web(server: Hub, sha256: str, name: str = FILE, **fields: Any) -> Manifest:
    """Return a source: a file of a plain web server."""
    source = {"url": f"{server.url}/files/{name}"} | fields
    return {"http": source, "files": [{"name": name, "sha256": sha256}]}
