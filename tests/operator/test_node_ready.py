"""A tier on a real node: from its YAML to answers, its key, and what a suspension keeps."""

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import nodes
from kit.cluster import Cluster
from nodes import CONDITIONS, NodeWorld
from operating import Manifest
from tiergarten_operator.facts import DEPLOYMENT, TIER

pytestmark = [
    pytest.mark.level(3),
    pytest.mark.usefixtures("cluster"),
    pytest.mark.timeout(180),
]
KEY = "a-key-of-the-test-only"
SECONDS = 40
OWN_SECONDS = 3  # between a pod that answers and a tier that says so


@pytest.fixture(scope="module")
def node_settings() -> dict[str, Any]:
    return {"llama_api_key": KEY}


def test_a_minimal_tier_becomes_ready_its_conditions_in_order(
    node: NodeWorld,
    cluster: Cluster,
    scripted_model: Callable[[str], Path],
    record_property: Callable[[str, object], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster.claim(node.namespace, "models", {"small.gguf": scripted_model("small")})
    began = time.monotonic()
    node.put(nodes.tier("small", nodes.volume("models", "small.gguf")))

    moments = history(node, "small", until="Serving")

    took = time.monotonic() - began
    reasons = [it["Ready"] for it in moments]
    assert reasons[-2:] == ["Loading", "Serving"]
    assert reasons[:-2] in ([], ["NoReplicas"])  # the pod may be there before the first status
    assert list(moments[-1]) == list(CONDITIONS)
    assert {it["Accepted"] for it in moments} == {"Valid"}
    assert {it["ModelAvailable"] for it in moments} == {"Verified"}
    own = waited(node, "small")
    with capsys.disabled():
        print(f"\napplied to Ready in {took:.1f} s, of which {own:.0f} s after the pod was ready")  # noqa: T201 -- the figure
    record_property("applied_to_ready_seconds", round(took, 1))
    assert own <= OWN_SECONDS
    assert {("Normal", "Serving")} <= node.told("small")


def test_only_who_has_the_key_is_answered_and_probes_need_none(node: NodeWorld) -> None:
    node.wait_for_reason("small", "Ready", "Serving")
    address = node.address("small")

    assert nodes.ask(address, "What is a pod?").status_code == 401
    answer = nodes.ask(address, "What is a pod?", KEY)

    assert nodes.content(answer).startswith("The small model says")
    (pod,) = node.pods("small")
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    assert KEY not in node.everything()


def test_a_pod_that_serves_nobody_stops_in_seconds_although_it_may_take_minutes(
    node: NodeWorld,
) -> None:
    node.wait_for_reason("small", "Ready", "Serving")
    (pod,) = node.pods("small")
    assert pod["spec"]["terminationGracePeriodSeconds"] > 100
    began = time.monotonic()

    node.change(TIER, "small", {"spec": {"suspend": True}})
    node.wait("the pod to be gone", lambda: not node.pods("small"))

    assert time.monotonic() - began < 15
    node.wait_for_reason("small", "Ready", "Suspended")
    assert node.there(DEPLOYMENT, "small")["spec"]["replicas"] == 0


def history(world: NodeWorld, tier: str, until: str) -> list[dict[str, str]]:
    """Return the reasons of all conditions each time that Ready got another one."""
    found: list[dict[str, str]] = []
    end = time.monotonic() + SECONDS
    while not found or found[-1]["Ready"] != until:
        assert time.monotonic() < end, found
        now = world.reasons(tier)
        if now and (not found or now["Ready"] != found[-1]["Ready"]):
            found.append(now)
        time.sleep(0.02)  # the API is polled as `kubectl wait` would watch it
    return found


def waited(world: NodeWorld, tier: str) -> float:
    """Return the seconds from a pod that is ready to a tier that is."""
    (pod,) = world.pods(tier)
    return (moment(world.there(TIER, tier)) - moment(pod)).total_seconds()


def moment(thing: Manifest) -> datetime:
    ready = next(it for it in thing["status"]["conditions"] if it["type"] == "Ready")
    return datetime.fromisoformat(ready["lastTransitionTime"])
