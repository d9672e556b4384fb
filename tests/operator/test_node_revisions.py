"""A new revision of a model on a real node: fetched and checked before anything is rolled out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import hub
import nodes
from hub import Hub
from hubs import Hubs
from nodes import NodeWorld
from operating import Manifest
from tiergarten_operator.facts import DEPLOYMENT, JOB, TIER

pytestmark = [
    pytest.mark.level(3),
    pytest.mark.usefixtures("cluster"),
    pytest.mark.timeout(180),
]
HALF = 5_000_000
QUESTION = "What is a pod?"


@pytest.fixture(scope="module")
def source(hubs: Hubs, scripted_model: Callable[[str], Path]) -> Hub:
    return hubs.open({f"{it}.gguf": scripted_model(it).read_bytes() for it in ("old", "new")})


@pytest.fixture(scope="module")
def node_settings() -> dict[str, Any]:
    return {"progress_seconds": 0.5}


@pytest.fixture(scope="module")
def world(node: NodeWorld, source: Hub) -> NodeWorld:
    old = revision(source, "old")["model"]
    node.put(nodes.tier("tier", old["source"] | {"files": old["files"]}))
    return node


def test_old_pods_serve_until_the_new_revision_is_verified(
    world: NodeWorld, source: Hub, hubs: Hubs
) -> None:
    world.wait_for_reason("tier", "Ready", "Serving")
    (before,) = world.pods("tier")
    event, go_on = hubs.event()
    source.gets.append(hub.hold(HALF, event))

    world.change(TIER, "tier", {"spec": revision(source, "new")})
    world.wait("the first bytes", lambda: " MB" in message(world))

    assert world.reasons("tier")["Available"] == "MinimumReplicas"
    assert world.pods("tier") == [before]
    assert said(world) == "The old model"
    go_on()
    world.wait("pods of the new revision", lambda: said(world) == "The new model")
    world.wait_for_reason("tier", "Ready", "Serving")
    status = world.there(TIER, "tier")["status"]
    assert status["model"]["files"][0]["sha256"] == hub.sha256(source.files["new.gguf"])
    assert len(world.all(JOB)) == 1  # that of the revision before is gone


def test_a_failed_fetch_leaves_the_pods_alone_and_going_back_restarts_none(
    world: NodeWorld, source: Hub
) -> None:
    world.wait_for_reason("tier", "Ready", "Serving")
    (before,) = world.pods("tier")
    template = world.there(DEPLOYMENT, "tier")["metadata"]["generation"]

    world.change(TIER, "tier", {"spec": revision(source, "old", sha256="b" * 64)})
    world.wait_for_reason("tier", "ModelAvailable", "ChecksumMismatch")

    assert world.reasons("tier")["Available"] == "MinimumReplicas"
    assert world.reasons("tier")["Ready"] == "ChecksumMismatch"
    assert said(world) == "The new model"
    world.change(TIER, "tier", {"spec": revision(source, "new")})
    world.wait_for_reason("tier", "Ready", "Serving")
    assert [it["metadata"]["uid"] for it in world.pods("tier")] == [before["metadata"]["uid"]]
    assert world.there(DEPLOYMENT, "tier")["metadata"]["generation"] == template


def test_fetching_the_same_again_restarts_no_pod(world: NodeWorld, source: Hub) -> None:
    world.wait_for_reason("tier", "Ready", "Serving")
    (before,) = world.pods("tier")
    asked = len(source.requests)

    world.change(TIER, "tier", {"metadata": {"annotations": {"tiergarten.dev/refetch": "1"}}})
    world.wait_for_reason("tier", "ModelAvailable", "Fetching")
    world.wait_for_reason("tier", "Ready", "Serving")

    assert len(source.requests) > asked
    assert [it["metadata"]["uid"] for it in world.pods("tier")] == [before["metadata"]["uid"]]


def revision(source: Hub, name: str, sha256: str = "") -> Manifest:
    """Return the part of a spec that names a file of a web server."""
    file = f"{name}.gguf"
    files = [{"name": file, "sha256": sha256 or hub.sha256(source.files[file])}]
    return {"model": {"source": {"http": {"url": f"{source.url}/files/{file}"}}, "files": files}}


def said(world: NodeWorld) -> str:
    """Return the first words of an answer; none while nobody answers."""
    try:
        answer = nodes.content(nodes.ask(world.address("tier"), QUESTION))
    except httpx.TransportError:
        return ""
    return " ".join(answer.split()[:3])


def message(world: NodeWorld) -> str:
    return str(world.conditions("tier")["ModelAvailable"]["message"])
