"""The source of local mode: tiers from YAML files, as processes on this machine.

It applies whole states: what the files say now is compared with what runs (`rollout`), whatever
has changed. The files are watched; an edit with a mistake changes nothing but the notice that all
tiers then carry. `Snapshot`s go out whenever anything in them is new.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from tiergarten_api.v1alpha1 import ModelTier, TierRoute
from tiergarten_router.core.snapshot import Snapshot, Tier, tier_of
from tiergarten_router.sources import capacity, files, rollout
from tiergarten_router.sources.files import Contents
from tiergarten_router.sources.models import Models
from tiergarten_router.sources.replicas import Replicas
from tiergarten_router.sources.tiers import LocalTier, Parts
from tiergarten_router.sources.watch import stamp, watch

log = structlog.get_logger()

SAMPLE_SECONDS: Final = 5.0


class LocalSource:
    """Runs what some YAML files say.

    Args:
        paths: The files.
        models: Where the models are.
        server: How a llama-server is started, as `builder.program` says.
    """

    def __init__(self, paths: Iterable[Path], models: Models, server: Sequence[str]) -> None:
        self._paths = tuple(paths)
        self._models = models
        self._parts = Parts(models, server, models.environ)
        self._tiers: dict[str, LocalTier] = {}
        self._routes: tuple[TierRoute, ...] = ()
        self._notice = ""
        self._wake = asyncio.Event()
        self._replicas = Replicas(self._wake.set)
        self._weighed: object = None
        self._stamp: object = None
        self._fit = capacity.Fit({}, "", 0)

    def read(self) -> Contents:
        """Return what the files say and all that is wrong with it, without doing anything."""
        self._stamp = stamp(self._paths)  # before: what is written meanwhile is read again
        contents = files.read(self._paths)
        missing = self._models.missing(contents.tiers)
        if not missing:
            return contents
        return Contents(
            contents.tiers, contents.routes, (*contents.errors, *missing), contents.warnings
        )

    async def prepare(self, contents: Contents) -> capacity.Fit:
        """Look for the models before anything is started; fetches only begin.

        Returns:
            Whether the tiers whose models are here fit into memory.
        """
        self._adopt(contents)
        quick = [tier for tier in self._tiers.values() if tier.is_quick]
        await asyncio.gather(*(tier.settled() for tier in quick))
        self._weigh()
        return self._fit

    def hopeless(self) -> tuple[str, ...]:
        """Return why no tier can ever start, a line each; nothing if one can or is suspended."""
        troubles = [(tier.name, tier.hopeless) for tier in self._tiers.values()]
        if not all(why for _, why in troubles):
            return ()
        return tuple(f"tier {name}: {why}" for name, why in troubles)

    async def run(self, publish: Callable[[Snapshot], None]) -> None:
        """Run what the files say until cancelled, then end every process."""
        self._look()  # nothing was read yet, or it was some time ago
        helpers = [
            asyncio.create_task(watch(self._paths, self._look)),
            asyncio.create_task(self._sample()),
        ]
        last = None
        try:
            while True:
                self._wake.clear()
                self._step()
                snapshot = self._snapshot()
                if snapshot != last:
                    publish(snapshot)
                    last = snapshot
                await self._wake.wait()
        finally:
            for task in helpers:
                task.cancel()
            await self.close()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def close(self) -> None:
        """Give up looking for models, and end every process."""
        for tier in self._tiers.values():
            tier.close()
        await self._replicas.stop()

    # -- what is wanted

    def _adopt(self, contents: Contents) -> None:
        """Make what the files say what is wanted."""
        names = {tier.metadata.name for tier in contents.tiers}
        for name in self._tiers.keys() - names:
            self._tiers.pop(name).close()
        self._tiers = {tier.metadata.name: self._applied(tier) for tier in contents.tiers}
        self._routes = contents.routes
        self._notice = ""
        self._wake.set()

    def _applied(self, resource: ModelTier) -> LocalTier:
        tier = self._tiers.get(resource.metadata.name)
        if tier is None:
            tier = LocalTier(resource, self._parts, self._wake.set)
            tier.search()
        else:
            tier.apply(resource)
        return tier

    def _look(self) -> None:
        """Apply an edit if there is one, or say why it is not applied."""
        if stamp(self._paths) == self._stamp:
            return
        contents = self.read()
        if contents.errors:
            for line in contents.errors:
                log.error("edit_refused", problem=line)
            more = len(contents.errors) - 1
            others = f" and {more} more" if more else ""
            self._notice = f"the last edit is not applied: {contents.errors[0]}{others}"
            self._wake.set()
            return
        for line in contents.warnings:
            log.warning("edit_doubtful", problem=line)
        log.info("edit_applied", tiers=[tier.metadata.name for tier in contents.tiers])
        self._adopt(contents)

    # -- what is done

    def _step(self) -> None:
        """Decide what to start and what to end, and do so; nothing is waited for."""
        self._weigh()
        wanted = [want for tier in self._tiers.values() if (want := tier.wanted())]
        templates = {want.tier: want.template for want in wanted}
        steps = rollout.steps(wanted, self._replicas.running())
        for name, index in steps.end:
            self._replicas.retire(name, index)
        for name, index in steps.start:
            self._replicas.start(name, index, templates[name], self._tiers[name].bounds)
        for tier in self._tiers.values():
            self._replicas.bound(tier.name, tier.bounds)

    def _weigh(self) -> None:
        """Look whether all fits into memory, whenever what is wanted has changed."""
        running = Counter(replica.tier for replica in self._replicas.running())
        found = (tier.demand(running[tier.name]) for tier in self._tiers.values())
        demands = [demand for demand in found if demand]
        wanted = tuple(replace(demand, running=0) for demand in demands)
        if wanted == self._weighed:
            return
        self._weighed = wanted
        before, self._fit = self._fit, capacity.fit(demands, capacity.machine())
        for demand in demands:
            tier = self._tiers[demand.tier]
            tier.too_large = self._fit.refused.get(demand.tier, "")
            tier.surge = demand.replica_bytes <= self._fit.left_bytes
        if self._fit.warning and self._fit.warning != before.warning:
            log.warning("memory_short", message=self._fit.warning)

    # -- what is known

    def _snapshot(self) -> Snapshot:
        return Snapshot(tuple(map(self._shown, self._tiers.values())), self._routes)

    def _shown(self, tier: LocalTier) -> Tier:
        endpoints = self._replicas.endpoints(tier.name)
        key = tier.plan.template.api_key if tier.plan else ""
        status = tier.status(endpoints, self._notice)
        there = [r.template for r in self._replicas.running() if r.tier == tier.name]
        templates = [*there, tier.plan.template] if tier.plan else there
        revisions = {found.revision for found in templates}
        return tier_of(tier.resource, endpoints, status, key, revisions=revisions)

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            self._replicas.sample()
