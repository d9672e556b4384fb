"""Compares what is known with what is there, and heals the difference.

A watch can stand still without a word, and a list after a gap tells nothing of what went in it. So
each kind's metadata is listed now and then, from the API server's own cache.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tiergarten_api import labels
from tiergarten_operator.cluster import api
from tiergarten_operator.cluster.api import Api, Request
from tiergarten_operator.cluster.store import UNKNOWN, Store, version
from tiergarten_operator.errors import OperatorError
from tiergarten_operator.facts import CHILDREN, POD, ROUTE, TIER, Key, Kind, Manifest

WATCHED: Final = (TIER, ROUTE, *CHILDREN, POD)
OWN: Final = (TIER, ROUTE)

Place = tuple[str, str]


@dataclass(frozen=True)
class Listed:
    """What is there of a kind.

    Attributes:
        version: The version that the list is of.
        objects: Uid and version of each object, by its place.
    """

    version: int
    objects: Mapping[Place, tuple[str, int]]


@dataclass
class Audit:
    """Compares, and remembers since when a kind differs.

    Attributes:
        server: Sends requests.
        store: What is known.
        namespaces: Those that are watched; empty for all.
        clock: Seconds of a monotonic clock.
        differing: Since when a kind differs, by its name.
        unseen: What was there at the first comparison and is neither seen nor gone since; None
            before it.
    """

    server: Api
    store: Store
    namespaces: Sequence[str] = ()
    clock: Callable[[], float] = time.monotonic
    differing: dict[str, float] = field(default_factory=dict)
    unseen: set[tuple[str, Place]] | None = None

    async def compare(self, kinds: Sequence[Kind] = WATCHED) -> dict[str, set[Key]]:
        """Return what to reconcile because it differs, by kind; what is gone is forgotten.

        Raises:
            ApiError: The server refuses to list.
            Unreachable: It did not answer.
        """
        found: dict[str, set[Key]] = {}
        unseen: set[tuple[str, Place]] = set()
        for kind in kinds:
            there = await self._list(kind)
            known = self.store.versions(kind)
            unseen |= {(kind.name, place) for place in there.objects.keys() - known.keys()}
            places = set(_different(known, there))
            found[kind.name] = {key for place in places for key in self._heal(kind, place, there)}
            if places:
                self.differing.setdefault(kind.name, self.clock())
            else:
                self.differing.pop(kind.name, None)
        self.unseen = unseen if self.unseen is None else self.unseen & unseen
        return found

    async def hindrance(self) -> str:
        """Return why a kind cannot be listed, and so not be watched; empty if all can be."""
        try:
            for kind in WATCHED:
                for namespace in self.namespaces or (None,):
                    await self._page(kind, namespace, {"limit": "1"})
        except OperatorError as error:
            return str(error)
        return ""

    async def _list(self, kind: Kind) -> Listed:
        objects: dict[Place, tuple[str, int]] = {}
        versions: list[int] = []
        for namespace in self.namespaces or (None,):
            answer = await self._page(kind, namespace, {"resourceVersion": "0"})
            versions.append(version(answer))
            for it in answer.get("items") or ():
                metadata = it["metadata"]
                place = (metadata["namespace"], metadata["name"])
                objects[place] = (str(metadata.get("uid")), version(it))
        return Listed(min(versions), objects)

    async def _page(self, kind: Kind, namespace: str | None, query: Mapping[str, str]) -> Manifest:
        """Return what the API server lists of a kind, without specs."""
        if kind not in OWN:
            query = {**query, "labelSelector": f"{labels.MANAGED_BY}={labels.OPERATOR}"}
        where = api.path(kind, namespace)
        request = Request(f"list {kind.plural}", "GET", where, query, accept=api.PARTIAL)
        return await self.server.send(request)

    def _heal(self, kind: Kind, place: Place, there: Listed) -> Iterator[Key]:
        """Forget what is gone, and yield what depended on it."""
        known = self.store.get(kind, *place)
        if known is not None:
            yield from self.store.keys_of(kind, known)
            if place not in there.objects:
                self.store.remove(kind, *place)
        elif kind in OWN:
            yield Key(*place, kind.name)


def _different(known: Mapping[Place, tuple[str, int]], there: Listed) -> Iterator[Place]:
    """Yield where another object is there than is known, a later one, or none.

    What is known may be newer than the list, which is answered from a cache: that is no difference.
    """
    for place in known.keys() | there.objects.keys():
        old, new = known.get(place), there.objects.get(place)
        if old is not None and old[1] > there.version:
            continue
        same = old is not None and new is not None and old[0] == new[0]
        if not same or (old and new and new[1] > old[1] and old[1] != UNKNOWN):
            yield place
