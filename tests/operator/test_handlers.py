"""Every event becomes keys in the queue, and nothing else."""

import itertools
import time
from typing import Any

from tiergarten_api import labels
from tiergarten_operator import handlers
from tiergarten_operator.cluster import Store
from tiergarten_operator.cluster.audit import OWN, WATCHED
from tiergarten_operator.facts import ROUTE, SERVICE, TIER, Key, Manifest
from tiergarten_operator.workqueue import WorkQueue


def thing(name: str = "q4", version: int = 1, **rest: Any) -> Manifest:
    metadata = {"name": name, "namespace": "models", "uid": "u", "resourceVersion": str(version)}
    return {"metadata": metadata | {"labels": {labels.TIER: "q4"}}} | rest


class Heard:
    """A sink, and what became of what it was told."""

    def __init__(self) -> None:
        self.events = self.lists = 0
        self.queue: WorkQueue[Key] = WorkQueue(time.monotonic)
        self.sink = handlers.Sink(Store(), self.queue, self._event, self._list)

    def _event(self) -> None:
        self.events += 1

    def _list(self) -> None:
        self.lists += 1


async def test_a_child_wakes_its_tier_and_an_echo_of_our_own_write_nobody() -> None:
    heard = Heard()
    heard.sink.store.put(SERVICE, thing(version=5))

    heard.sink.take(SERVICE, "MODIFIED", thing(version=5))
    heard.sink.take(SERVICE, "MODIFIED", thing(version=4))
    assert len(heard.queue) == 0

    heard.sink.take(SERVICE, "MODIFIED", thing(version=6))
    assert len(heard.queue) == 1
    assert heard.events == 3


async def test_what_a_list_shows_wakes_its_tier_and_the_audit_even_if_it_is_known() -> None:
    heard = Heard()
    heard.sink.store.put(SERVICE, thing())

    heard.sink.take(SERVICE, None, thing())

    assert (len(heard.queue), heard.lists) == (1, 1)


async def test_what_is_deleted_is_forgotten_and_wakes_its_tier() -> None:
    heard = Heard()
    heard.sink.store.put(SERVICE, thing())

    heard.sink.take(SERVICE, "DELETED", thing(version=2))

    assert heard.sink.store.get(SERVICE, "models", "q4") is None
    assert len(heard.queue) == 1


async def test_a_tier_wakes_the_routes_that_name_it() -> None:
    heard = Heard()
    heard.sink.store.put(ROUTE, thing("auto", spec={"tiers": [{"name": "q4"}]}))
    heard.sink.store.put(ROUTE, thing("other", spec={"tiers": [{"name": "q8"}]}))

    heard.sink.take(TIER, "ADDED", thing())

    assert len(heard.queue) == 2  # the tier, and one route


def test_kopf_only_watches_and_never_gives_up() -> None:
    found = handlers.settings(request_seconds=10, silence_seconds=75)

    assert found.peering.standalone
    assert not found.posting.enabled
    assert found.scanning.disabled
    assert found.watching.inactivity_timeout == 75
    assert len(list(found.watching.label_selectors)) == len(WATCHED) - len(OWN)


def test_tries_come_later_and_later_with_jitter_and_without_an_end() -> None:
    waits = list(itertools.islice(handlers.Patience(), 200))

    assert all(0.25 <= it <= 8 for it in waits)
    assert max(waits[:1]) <= 0.5
    assert min(waits[4:]) >= 4
    assert len(set(waits)) > 100
