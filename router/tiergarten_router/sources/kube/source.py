"""The source of the cluster: follows three kinds of objects, and publishes whole snapshots of them.

Many events make one snapshot. Nothing is published before everything was listed once; after that,
what is known stays in force for as long as the API server is away.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import aiohttp

from tiergarten_api import labels
from tiergarten_api.v1alpha1 import ModelTier, TierRoute
from tiergarten_router.core.snapshot import (
    Endpoint,
    Snapshot,
    Standing,
    Tier,
    prefix,
    tier_of,
)
from tiergarten_router.sources.kube import conditions, join, reading
from tiergarten_router.sources.kube.api import Api
from tiergarten_router.sources.kube.join import Rows
from tiergarten_router.sources.kube.login import Login
from tiergarten_router.sources.kube.objects import Key
from tiergarten_router.sources.kube.reflector import Bounds, Kind, Reflector
from tiergarten_router.sources.kube.table import Table

TICK_SECONDS: Final = 0.05
"""Shortest time between two snapshots."""
SHARE: Final = 10
"""A snapshot that took long is followed by a pause so many times as long."""
USER_AGENT: Final = "tiergarten-router"

_MANAGED: Final = f"{labels.MANAGED_BY}={labels.OPERATOR}"
TIERS: Final = Kind(labels.API_VERSION, labels.MODEL_TIERS, reading.tier)
ROUTES: Final = Kind(labels.API_VERSION, labels.TIER_ROUTES, reading.route)
SLICES: Final = Kind("discovery.k8s.io/v1", "endpointslices", reading.rows, _MANAGED, page=100)

Slices: TypeAlias = tuple[Rows, ...]
Made: TypeAlias = tuple[ModelTier, Slices, str, tuple[Endpoint, ...], Tier]


@dataclass(frozen=True, slots=True)
class Scope:
    """What is served.

    Attributes:
        namespaces: The namespaces; empty for all of them.
        home: The one whose names stand bare.
        api_key: Key of all llama-servers, empty when they want none.
    """

    namespaces: tuple[str, ...]
    home: str
    api_key: str = ""


def scope(namespaces: Sequence[str], login: Login, api_key: str = "") -> Scope:
    """Return what is served; the first namespace is at home, or else that of the login."""
    found = tuple(dict.fromkeys(namespaces))
    return Scope(found, found[0] if found else login.namespace, api_key)


class KubeSource:
    """Follows tiers, routes and endpoints.

    Args:
        login: How to log in.
        served: What is served.
        clock: Monotonic seconds.
        bounds: How patient its watches are.
    """

    def __init__(
        self,
        login: Login,
        served: Scope,
        clock: Callable[[], float],
        bounds: Bounds = Bounds(),  # noqa: B008 -- it is frozen
    ) -> None:
        self._login, self._served, self._clock = login, served, clock
        self._news = asyncio.Event()
        self._tiers: Table[ModelTier] = Table("ModelTier", self._news.set)
        self._routes: Table[TierRoute] = Table("TierRoute", self._news.set)
        self._slices: Table[Rows] = Table("EndpointSlice", self._news.set)
        self._made: dict[Key, Made] = {}
        draw = random.Random().random  # noqa: S311 -- spreads load, keeps no secret
        self._reflectors: list[Reflector[Any]] = []
        for place in served.namespaces or (None,):
            self._reflectors += [
                Reflector(TIERS, place, self._tiers, bounds, clock, draw),
                Reflector(ROUTES, place, self._routes, bounds, clock, draw),
                Reflector(SLICES, place, self._slices, bounds, clock, draw),
            ]

    async def run(self, publish: Callable[[Snapshot], None]) -> None:
        """Follow the API server and publish snapshots until cancelled."""
        connector = aiohttp.TCPConnector(limit=0)  # a watch holds its connection
        headers = {"User-Agent": USER_AGENT}
        trusts = self._login.trust_env
        async with (
            aiohttp.ClientSession(
                connector=connector, headers=headers, trust_env=trusts
            ) as session,
            asyncio.TaskGroup() as tasks,
        ):
            api = Api(self._login, session)
            for reflector in self._reflectors:
                tasks.create_task(reflector.run(api))
            await self._publish(publish)

    def standing(self) -> Standing:
        """Return how current all of it is."""
        troubles = [reflector.trouble for reflector in self._reflectors if reflector.trouble]
        oldest = min(reflector.heard_at for reflector in self._reflectors)
        return Standing(
            reachable=not troubles,
            age_seconds=max(0.0, self._clock() - oldest),
            message=troubles[0] if troubles else "",
            refused=tuple(
                (table.kind, *key) for table in self._tables() for key in sorted(table.problems)
            ),
        )

    def snapshot(self) -> Snapshot:
        """Return all that is known; what has not changed is the same object as before."""
        slices = self._by_service()
        made = {
            key: self._tier(key, self._tiers.good[key], slices.get(key, ()))
            for key in sorted(self._tiers.good)
        }
        self._made = made
        return Snapshot(
            tiers=tuple(entry[-1] for entry in made.values()),
            routes=tuple(self._routes.good[key] for key in sorted(self._routes.good)),
            problems=tuple(
                table.told(key) for table in self._tables() for key in sorted(table.problems)
            ),
            home=self._served.home,
        )

    async def _publish(self, publish: Callable[[Snapshot], None]) -> None:
        last = None
        while True:
            await self._news.wait()
            self._news.clear()
            began = self._clock()
            if all(reflector.synced for reflector in self._reflectors):
                snapshot = self.snapshot()
                if snapshot != last:
                    publish(snapshot)
                    last = snapshot
            await asyncio.sleep(max(TICK_SECONDS, SHARE * (self._clock() - began)))

    def _by_service(self) -> dict[Key, Slices]:
        found: dict[Key, list[Rows]] = {}
        for key in sorted(self._slices.good):
            rows = self._slices.good[key]
            found.setdefault(rows.service, []).append(rows)
        return {service: tuple(rows) for service, rows in found.items()}

    def _tier(self, key: Key, resource: ModelTier, slices: Slices) -> Made:
        """Return a tier and what it was made of; the same one while that is the same."""
        problem = self._tiers.problems.get(key, "")
        known = self._made.get(key)
        same = known is not None and known[1] == slices
        if known is not None and same and known[0] is resource and known[2] == problem:
            return known
        endpoints = known[3] if known is not None and same else join.endpoints(slices)
        notice = f"the newest version is not in force: {problem}" if problem else ""
        status = conditions.status(resource, endpoints, notice)
        before = prefix(resource.metadata.namespace, self._served.home)
        tier = tier_of(resource, endpoints, status, self._served.api_key, before)
        return resource, slices, problem, endpoints, tier

    def _tables(self) -> tuple[Table[Any], ...]:
        return self._tiers, self._routes, self._slices
