"""Roll-outs and drains on a real node, under load: no stream is cut."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import nodes
from nodes import NodeWorld
from operating import Manifest
from tiergarten_operator.facts import BUDGET, POD, TIER, Kind

pytestmark = [
    pytest.mark.level(3),
    pytest.mark.usefixtures("cluster"),
    pytest.mark.timeout(180),
]
SLICES = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
KEY = "a-key-of-the-test-only"
CLIENTS = 3
TOKENS = 300  # some seconds


@pytest.fixture(scope="module")
def node_settings() -> dict[str, Any]:
    return {"llama_api_key": KEY}


@pytest.fixture(scope="module")
def world(node: NodeWorld, clusters: Any, scripted_model: Callable[[str], Path]) -> NodeWorld:
    """A tier of two replicas and one of one, side by side."""
    clusters.at(3).claim(node.namespace, "models", {"small.gguf": scripted_model("small")})
    for name, replicas in (("two", 2), ("one", 1)):
        runtime = nodes.SMALL | {"contextLength": 16_384, "parallel": 2}
        source = nodes.volume("models", "small.gguf")
        node.put(nodes.tier(name, source, runtime=runtime, replicas=replicas))
    return node


def test_a_roll_out_under_load_cuts_no_stream(world: NodeWorld) -> None:
    world.wait_for_reason("two", "Ready", "Serving")
    before = names(world, "two")

    with load(world, "two") as streams:
        world.wait("streams", lambda: streams.running >= CLIENTS)
        world.change(TIER, "two", {"spec": {"runtime": {"promptCacheMiB": 1}}})
        world.wait("other pods", lambda: before.isdisjoint(names(world, "two")))
        world.wait("the roll-out to end", lambda: settled(world, "two"))

    assert streams.faults == []
    assert streams.whole >= CLIENTS
    assert streams.outlived, "a stream ended on a pod that was on its way out"


def test_a_drained_node_takes_one_pod_at_a_time(world: NodeWorld) -> None:
    world.wait("two ready pods", lambda: len(ready(world, "two")) == 2 and settled(world, "two"))
    assert world.there(BUDGET, "two")["status"]["disruptionsAllowed"] == 1
    first, second = sorted(names(world, "two"))

    assert world.evict(first) == 201
    assert world.evict(second) == 429

    world.wait("the first to be replaced", lambda: len(ready(world, "two")) == 2)
    assert second in names(world, "two")


def test_the_one_pod_of_a_tier_can_be_drained(world: NodeWorld) -> None:
    world.wait_for_reason("one", "Ready", "Serving")
    (pod,) = names(world, "one")
    assert world.get(BUDGET, "one") is None

    with load(world, "one") as streams:
        world.wait("streams", lambda: streams.running >= 1)
        assert world.evict(pod) == 201
        world.wait("it to be gone", lambda: world.get(POD, pod) is None)

    assert streams.faults == []
    assert streams.outlived
    world.wait_for_reason("one", "Ready", "Serving")


class Streams:
    """What clients saw that stream answers from a tier's ready endpoints, as a router does."""

    def __init__(self, world: NodeWorld, tier: str) -> None:
        self.world, self.tier = world, tier
        self.stop = threading.Event()
        self.running = self.whole = 0
        self.faults: list[str] = []
        self.outlived: list[str] = []

    def client(self, number: int) -> None:
        while not self.stop.is_set():
            pods = ready(self.world, self.tier)
            if not pods:
                time.sleep(0.1)
                continue
            self.stream(pods[number % len(pods)])

    def stream(self, pod: Manifest) -> None:
        name = pod["metadata"]["name"]
        self.running += 1
        try:
            finish = last_event(nodes.url(pod))
        except httpx.HTTPError as error:
            self.faults.append(f"{name}: {error!r}")
        else:
            if finish == "length":
                self.whole += 1
            else:
                self.faults.append(f"{name}: ended with {finish}")
        found = self.world.get(POD, name)
        if found is None or "deletionTimestamp" in found["metadata"]:
            self.outlived.append(name)
        self.running -= 1


@contextmanager
def load(world: NodeWorld, tier: str) -> Iterator[Streams]:
    """Let clients stream from a tier while a block runs, and until their last streams end."""
    streams = Streams(world, tier)
    threads = [threading.Thread(target=streams.client, args=(it,)) for it in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield streams
    finally:
        streams.stop.set()
        for thread in threads:
            thread.join(60)


def last_event(url: str) -> str:
    """Stream a long answer and return why it ended; empty if it was cut."""
    body = {"messages": [{"role": "user", "content": "What is a pod?"}], "stream": True}
    body |= {"max_tokens": TOKENS, "ignore_eos": True}
    headers = {"Authorization": f"Bearer {KEY}"}
    events = []
    with (
        httpx.Client(trust_env=False, timeout=30) as client,
        client.stream("POST", f"{url}/v1/chat/completions", json=body, headers=headers) as answer,
    ):
        answer.raise_for_status()
        events = [line[6:] for line in answer.iter_lines() if line.startswith("data: ")]
    if not events or events[-1] != "[DONE]":
        return ""
    reasons = [json.loads(it)["choices"][0]["finish_reason"] for it in events[-3:-1]]
    return next((str(it) for it in reasons if it), "")


def ready(world: NodeWorld, tier: str) -> list[Manifest]:
    """Return the pods of a tier that its EndpointSlices call ready."""
    wanted = {
        endpoint["targetRef"]["name"]
        for found in world.all(SLICES)
        if found["metadata"]["labels"].get("tiergarten.dev/tier") == tier
        for endpoint in found.get("endpoints") or ()
        if endpoint["conditions"]["ready"]
    }
    return [it for it in world.pods(tier) if it["metadata"]["name"] in wanted]


def names(world: NodeWorld, tier: str) -> set[str]:
    """Return the names of a tier's pods that are not on their way out."""
    found = [it["metadata"] for it in world.pods(tier)]
    return {it["name"] for it in found if "deletionTimestamp" not in it}


def settled(world: NodeWorld, tier: str) -> bool:
    return world.reasons(tier)["Progressing"] == "Settled"
