"""A tier and its replicas, and which of them gets a query: at the same cost for 1 as for 10,000.

Who may be asked is kept up to date where it changes (a claim, a release, a check, a breaker) and
not looked for where it is needed: a choice is made among a few of those that have a slot free.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Final

from tiergarten_router.core import affinity, balance, breaker
from tiergarten_router.core.affinity import Claim, Ring
from tiergarten_router.core.breaker import Phase
from tiergarten_router.core.queue import Queue
from tiergarten_router.core.snapshot import Endpoint, ReplicaState, Tier
from tiergarten_router.replica import Replica, Roster

LOOKED_AT: Final = (
    8  # replicas for each choice: two would do, more even out the load of small tiers
)


@dataclass(slots=True)
class Waiter:
    """A query that waits for a slot of a tier."""

    tried: Collection[str]
    claim: Claim
    granted: "asyncio.Future[Replica]"


class Group:
    """A tier, its replicas, and those who wait for one of them.

    Args:
        tier: The tier.

    Attributes:
        tier: The tier.
        replicas: All of its replicas by id.
        waiting: The queue.
        serving: Those that the source and the health checks let be asked.
        free: Of these, those with a slot free.
        draining: Those that are about to end, for conversations that have begun, if none serves.
        in_flight: Queries open at all replicas.
    """

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self.replicas: dict[str, Replica] = {}
        self.waiting: Queue[Waiter] = Queue()
        self.serving = Roster()
        self.free = Roster()
        self.draining = Roster()
        self.in_flight = 0
        self._unwell: dict[str, Replica] = {}  # of those that serve: breaker not closed
        self._resting: dict[str, Replica] = {}  # of those that serve: full or loading,
        self._unfit: dict[str, Replica] = {}  # or refusing what the router is
        self._wakes_at = inf  # when the first of these is done
        self._ring: Ring | None = None
        self._turns = 0

    # -- what changes

    def replace(self, tier: Tier, endpoints: Iterable[Endpoint]) -> None:
        """Take a tier over; endpoints that stay keep their counts and breakers."""
        before = self.replicas
        self.tier = tier
        self.replicas = dict(_replicas(before, endpoints))
        if before.keys() != self.replicas.keys():
            self._ring = None
        self.serving, self.free, self.draining = Roster(), Roster(), Roster()
        self._unwell.clear()
        self._resting.clear()
        self._unfit.clear()
        self._wakes_at = inf
        self.in_flight = sum(replica.in_flight for replica in self.replicas.values())
        for replica in self.replicas.values():
            self.refresh(replica)

    def refresh(self, replica: Replica) -> None:
        """Note what a replica is like now; one that has left is none of this group's."""
        ident = replica.endpoint.id
        if self.replicas.get(ident) is not replica:
            return
        serves = replica.serves
        self.serving.keep(replica, member=serves)
        self.draining.keep(replica, member=replica.drains)
        self.free.keep(replica, member=serves and replica.in_flight < self.tier.slots)
        _keep(self._unwell, replica, member=serves and replica.breaker.phase is not Phase.CLOSED)
        resting = serves and replica.rests_until > -inf
        _keep(self._resting, replica, member=resting and replica.rest_status > 0)
        _keep(self._unfit, replica, member=resting and not replica.rest_status)
        if resting:
            self._wakes_at = min(self._wakes_at, replica.rests_until)

    def count(self, replica: Replica, step: int) -> None:
        """Count a query of a replica in or out."""
        replica.in_flight += step
        if self.replicas.get(replica.endpoint.id) is replica:
            self.in_flight += step
            self.free.keep(replica, member=replica.serves and replica.in_flight < self.tier.slots)

    # -- who may be asked

    def panics(self) -> bool:
        """Return whether breakers are to be ignored, because most replicas fail."""
        serving = len(self.serving)
        return breaker.panics(serving - len(self._unwell), serving)

    def rest(self, now: float) -> tuple[float, int] | None:
        """Return when the first replica is done resting, and the status that one rests with.

        None if there is a replica that is neither full nor loading.
        """
        if now >= self._wakes_at:
            self._wake(now)
        if not self._resting or len(self._resting) < len(self.serving):
            return None
        return self._wakes_at, next(iter(self._resting.values())).rest_status

    def admits(self, replica: Replica, tried: Collection[str], now: float) -> bool:
        """Return whether a serving replica may be asked, if it has a slot."""
        if replica.endpoint.id in tried:
            return False
        if replica.rests_until > now and (replica.rest_status or not self._all_rest()):
            return False
        return not self._unwell or replica.breaker.admits(now) or self.panics()

    def may_wait(self, tried: Collection[str], now: float) -> bool:
        """Return whether any replica would be asked if it had a slot."""
        if self.rest(now) is not None:
            return False
        members = self.serving.members
        if any(self.admits(replica, tried, now) for replica in members):
            return True
        return bool(tried) and any(_last_resort(replica, tried) for replica in members)

    def choose(
        self, claim: Claim, tried: Collection[str], home: str | None, now: float, draw: float
    ) -> Replica | None:
        """Return the replica that a query goes to; None if none is free.

        Args:
            claim: What it is chosen by.
            tried: Ids of those that are not asked again.
            home: Where the conversation was answered last, if that is known.
            now: The clock's time.
            draw: A random number from 0 to 1: which few are looked at.
        """
        if not self.serving.members:
            return self._last(claim, tried, now)
        if not self.free.members or self.rest(now) is not None:
            return None
        if claim.sticky and len(self.serving) > 1:
            found = self._home(claim, tried, home, now)
            if found is not None:
                return found
        few = self._few(tried, now, draw)
        if len(few) == 1:
            return few[0]
        slots = self.tier.slots
        self._turns += 1

        def load(replica: Replica) -> float:
            share = replica.breaker.share(now)
            return balance.load(replica.in_flight, replica.elsewhere, slots, share)

        return balance.pick(few, load, self._turns)

    # -- inside

    def _last(self, claim: Claim, tried: Collection[str], now: float) -> Replica | None:
        """Return one that is about to end, for a conversation that would break off without it."""
        if not claim.begun:
            return None
        slots = self.tier.slots
        may = [
            replica
            for replica in self.draining.members
            if replica.in_flight < slots and self.admits(replica, tried, now)
        ]
        return min(may, key=lambda replica: (replica.in_flight, replica.id), default=None)

    def _few(self, tried: Collection[str], now: float, draw: float) -> Sequence[Replica]:
        """Return some of those that may be asked and have a slot free; none if there are none."""
        free = self.free.members
        offered = balance.shortlist(free, draw, LOOKED_AT)
        if not tried and not self._unwell and not self._resting and not self._unfit:
            return offered
        few = [replica for replica in offered if self.admits(replica, tried, now)]
        if not few:
            few = [replica for replica in free if self.admits(replica, tried, now)]
        elif self._unwell and len(free) > LOOKED_AT:
            few += [replica for replica in self._due(now) if self.admits(replica, tried, now)]
        if not few and tried:
            few = [replica for replica in free if _last_resort(replica, tried)]
        return few

    def _home(
        self, claim: Claim, tried: Collection[str], home: str | None, now: float
    ) -> Replica | None:
        """Return the replica that holds the query's beginning, or shall, if it has room."""
        average = (self.in_flight + 1) / len(self.serving)
        for ident in self._homes(claim.prefix, home):
            replica = self.replicas.get(ident)
            if replica is None or replica not in self.free:
                continue
            share = replica.breaker.share(now)
            most = affinity.bound(self.tier.slots, share, average, known=ident == home)
            if replica.in_flight + 1 <= most and self.admits(replica, tried, now):
                return replica
        return None

    def _homes(self, prefix: int, home: str | None) -> Iterator[str]:
        if home is not None:
            yield home
        if self._ring is None:
            self._ring = Ring(self.replicas)
        yield from self._ring.near(prefix)

    def _due(self, now: float) -> list[Replica]:
        """Return a few of those whose breaker may want its probe."""
        few = islice(self._unwell.values(), LOOKED_AT)
        return [r for r in few if r.breaker.admits(now) and r in self.free]

    def _all_rest(self) -> bool:
        return len(self._resting) + len(self._unfit) >= len(self.serving)

    def _wake(self, now: float) -> None:
        self._wakes_at = inf
        for resting in (self._resting, self._unfit):
            for replica in list(resting.values()):
                if replica.rests_until <= now:
                    replica.rests_until = -inf
                    del resting[replica.endpoint.id]
                else:
                    self._wakes_at = min(self._wakes_at, replica.rests_until)


def _keep(kept: dict[str, Replica], replica: Replica, *, member: bool) -> None:
    if member:
        kept[replica.endpoint.id] = replica
    else:
        kept.pop(replica.endpoint.id, None)


def _last_resort(replica: Replica, tried: Collection[str]) -> bool:
    """Return whether a retry that finds nobody else may ask it: it may be well by now."""
    return replica.endpoint.id not in tried and replica.breaker.phase is Phase.OPEN


def _replicas(
    before: Mapping[str, Replica], endpoints: Iterable[Endpoint]
) -> Iterator[tuple[str, Replica]]:
    """Yield the replicas of endpoints; one at another address is another replica."""
    for endpoint in endpoints:
        replica = before.get(endpoint.id)
        if replica is None or replica.endpoint.url != endpoint.url:
            replica = Replica(endpoint)
        elif endpoint.state is ReplicaState.READY is not replica.endpoint.state:
            replica.failed_checks = 0  # the source has seen it come back
        replica.endpoint = endpoint
        yield endpoint.id, replica
