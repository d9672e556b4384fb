"""The one mutable picture: tiers, their endpoints, queries in flight, breakers, queues, health.

A source replaces the snapshot, the health checks report, and dispatch leases endpoints. There is no
await between a choice and its bookkeeping, so one event loop needs no locks.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from math import ceil
from typing import Final

from tiergarten_router import wire
from tiergarten_router.core import affinity, balance, context, routes
from tiergarten_router.core.affinity import ANYBODY, Claim, Homes
from tiergarten_router.core.breaker import Breaker
from tiergarten_router.core.health import Health
from tiergarten_router.core.queue import Place, Priority
from tiergarten_router.core.snapshot import Snapshot, Tier
from tiergarten_router.errors import NoReadyTier, RouterError, Saturated
from tiergarten_router.group import Group, Waiter
from tiergarten_router.replica import Average, Replica
from tiergarten_router.settings import Settings

__all__ = ["Average", "Fleet", "Group", "Lease", "Replica"]

REST_MOST: Final = 60.0  # seconds; an endpoint may not shut itself out for longer
UNFIT_SECONDS: Final = 5.0  # for one that refuses the router's key, as long as there are others


class Lease:
    """The claim on an endpoint while an attempt is open.

    Attributes:
        tier: The endpoint's tier.
        replica: The endpoint.
        began: Clock time of the claim.
        claim: What the endpoint was chosen by.
    """

    __slots__ = ("_fleet", "_open", "began", "claim", "replica", "tier")

    def __init__(
        self, fleet: "Fleet", tier: Tier, replica: Replica, began: float, claim: Claim
    ) -> None:
        self.tier = tier
        self.replica = replica
        self.began = began
        self.claim = claim
        self._fleet = fleet
        self._open = True

    def release(self) -> None:
        """Give the slot back; the second time does nothing."""
        if self._open:
            self._open = False
            self._fleet.released(self.tier.name, self.replica)


class Fleet:
    """What the router knows, and who may be asked.

    Args:
        settings: Bounds of the queue.
        clock: Monotonic seconds.
        draw: A random number from 0 to 1, for jitter.

    Attributes:
        routes: What clients may ask for.
        synced: Whether a source has published a snapshot.
        characters_per_token: How long a token is, as far as it is learnt.
        homes: Where conversations were answered last.
        on_breaker: Told the tier, the endpoint and the new state of a breaker that changed.
        on_health: Told the tier, the endpoint, and whether its health checks let it be asked now.
    """

    def __init__(
        self, settings: Settings, clock: Callable[[], float], draw: Callable[[], float]
    ) -> None:
        self.routes = routes.NO_ROUTES
        self.synced = False
        self.characters_per_token = context.CHARACTERS_PER_TOKEN
        self.homes = Homes(settings.affinity_conversations)
        self.on_breaker: Callable[[str, str, str], None] = lambda _tier, _endpoint, _to: None
        self.on_health: Callable[[str, str, bool], None] = lambda _tier, _endpoint, _healthy: None
        self._settings = settings
        self._clock = clock
        self._draw = draw
        self._groups: dict[str, Group] = {}

    # -- what a source and the health checks tell

    def replace(self, snapshot: Snapshot) -> None:
        """Take a snapshot over; endpoints that stay keep their counts and breakers."""
        groups = {}
        for tier in snapshot.tiers:
            group = self._groups.get(tier.name) or Group(tier)
            group.replace(tier, tier.endpoints)
            groups[tier.name] = group
        gone = [group for name, group in self._groups.items() if name not in groups]
        self._groups = groups
        self.routes = routes.compile_routes(snapshot)
        self.synced = True
        for group in gone:
            group.replace(group.tier, ())
        for group in (*groups.values(), *gone):
            self._serve(group)

    def checked(self, tier: str, replica: Replica, health: Health) -> None:
        """Take in a health check of a tier's replica."""
        replica.checked_at = self._clock()
        replica.message = health.message
        replica.check_seconds = health.latency_seconds
        served = replica.serves
        replica.failed_checks = 0 if health.healthy else replica.failed_checks + 1
        replica.busy, replica.deferred = health.processing, health.deferred
        reported = (health.processing or 0) + (health.deferred or 0)
        replica.elsewhere = balance.others(reported, replica.in_flight)
        group = self._groups.get(tier)
        if group is not None:
            group.refresh(replica)
            self._serve(group)
        if replica.serves is not served:
            self.on_health(tier, replica.id, replica.serves)

    # -- what dispatch asks

    def groups(self) -> Iterable[Group]:
        """Return the tiers with their replicas, cheapest first."""
        return sorted(self._groups.values(), key=lambda group: (group.tier.rank, group.tier.name))

    def ready(self, tier: str) -> bool:
        """Return whether any replica of a tier may be asked now."""
        group = self._groups.get(tier)
        return group is not None and len(group.serving) > 0

    async def lease(
        self, name: str, tried: Collection[str], until: float, claim: Claim = ANYBODY
    ) -> Lease:
        """Claim an endpoint of a tier, in the tier's queue if every slot is taken.

        Args:
            name: The tier.
            tried: Ids of endpoints that are not asked again.
            until: Clock time after which the query is given up.
            claim: What the endpoint and the place in the queue are chosen by.

        Raises:
            NoReadyTier: If no endpoint may be asked.
            Saturated: If all endpoints say that they are full or loading, if the queue is full, or
                if the wait in it was too long.
        """
        group = self._groups.get(name)
        if group is None:
            raise _no_endpoint(name)
        if not group.waiting:
            replica = self._claim(group, tried, claim)
            if replica is not None:
                return Lease(self, group.tier, replica, self._clock(), claim)
        granted = await self._wait(group, tried, until, claim)
        return Lease(self, group.tier, granted, self._clock(), claim)

    def released(self, name: str, replica: Replica) -> None:
        """Take a slot back and hand it to whoever waits; called by leases only."""
        group = self._groups.get(name)
        if group is None:
            replica.in_flight -= 1
        else:
            group.count(replica, -1)
            self._serve(group)

    def succeeded(self, lease: Lease) -> None:
        """Take in an attempt that ended well."""
        lease.replica.answered += 1
        self._turn(lease, lease.replica.breaker.succeeded(self._clock(), lease.began))

    def failed(self, lease: Lease) -> None:
        """Take in an attempt that the endpoint failed."""
        lease.replica.failed += 1
        self._turn(
            lease, lease.replica.breaker.failed(self._clock(), lease.began, 0.5 + self._draw())
        )

    def abandoned(self, lease: Lease) -> None:
        """Take in an attempt that says nothing about the endpoint's health."""
        self._turn(lease, lease.replica.breaker.abandoned(self._clock(), lease.began))

    def rests(self, lease: Lease, status: int = 0, seconds: float = UNFIT_SECONDS) -> None:
        """Take in that an endpoint should be left alone, though it is not broken.

        Args:
            lease: The attempt's.
            status: 429 if it is full, 503 if it is loading: it is not asked meanwhile. 0 if it
                refuses the router itself: it is asked only if all others are resting too.
            seconds: How long it said, or is given.
        """
        now, replica = self._clock(), lease.replica
        self._turn(lease, replica.breaker.abandoned(now, lease.began, busy=True))
        replica.rests_until = max(replica.rests_until, now + min(REST_MOST, seconds))
        replica.rest_status = status
        group = self._groups.get(lease.tier.name)
        if group is not None:
            group.refresh(replica)

    def learn(self, characters: int, prompt_tokens: int) -> None:
        """Learn how long a token is from a prompt that an endpoint has counted."""
        self.characters_per_token = context.learn(
            self.characters_per_token, characters, prompt_tokens
        )

    def keeps(self, lease: Lease, timings: wire.Timings) -> bool | None:
        """Learn which endpoint holds a conversation, and return whether this one held it before.

        None if the query was not one for which that was looked for.
        """
        claim = lease.claim
        if claim.prefix:
            self.homes.put(lease.tier.name, claim.prefix, lease.replica.endpoint.id)
        return affinity.held(timings) if claim.sticky else None

    # -- inside

    def _turn(self, lease: Lease, after: Breaker) -> None:
        self._turned(lease.tier.name, lease.replica, after)

    def _turned(self, tier: str, replica: Replica, after: Breaker) -> None:
        before, replica.breaker = replica.breaker, after
        if after.phase is not before.phase:
            group = self._groups.get(tier)
            if group is not None:
                group.refresh(replica)
            self.on_breaker(tier, replica.id, after.phase.value)

    def _claim(self, group: Group, tried: Collection[str], claim: Claim) -> Replica | None:
        now = self._clock()
        home = self.homes.find(group.tier.name, claim.prefix) if claim.sticky else None
        replica = group.choose(claim, tried, home, now, self._draw())
        if replica is not None:
            group.count(replica, 1)
            self._turned(group.tier.name, replica, replica.breaker.admitted(now))
        return replica

    def _serve(self, group: Group) -> None:
        """Hand free slots to those who wait, in order; tell those who can get none.

        A retry that must not have the endpoint that is free does not keep it from others.
        """
        if not group.waiting:
            return
        for place in group.waiting:
            waiter = place.item
            if waiter.granted.done():
                continue
            replica = self._claim(group, waiter.tried, waiter.claim)
            if replica is not None:
                waiter.granted.set_result(replica)
                group.waiting.take(place, served=True)
            elif not group.may_wait(waiter.tried, self._clock()):
                waiter.granted.set_exception(self._unavailable(group))
            elif not waiter.tried:
                return

    async def _wait(
        self, group: Group, tried: Collection[str], until: float, claim: Claim
    ) -> Replica:
        if not group.may_wait(tried, self._clock()):
            raise self._unavailable(group)
        waiter = Waiter(tried, claim, asyncio.get_running_loop().create_future())
        priority = Priority.BACKGROUND if claim.background else Priority.INTERACTIVE
        place = group.waiting.place(waiter, claim.caller, priority)
        self._make_room(group, place)
        group.waiting.put(place)
        self._serve(group)  # who waits may be granted already, and a slot free all the same
        patience = max(0.0, min(self._settings.queue_seconds, until - self._clock()))
        try:
            async with asyncio.timeout(patience):
                return await waiter.granted
        except (TimeoutError, asyncio.CancelledError) as error:
            if _was_granted(waiter):  # in the same moment; nobody will use it
                lease = Lease(self, group.tier, waiter.granted.result(), self._clock(), claim)
                self.abandoned(lease)
                lease.release()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise Saturated(
                f"Tier {group.tier.name} had no free slot in {patience:.0f} s.",
                retry_after_seconds=self._retry_after(group),
            ) from error
        finally:
            group.waiting.take(place, served=False)

    def _make_room(self, group: Group, place: Place[Waiter]) -> None:
        """Shed the last in the queue if it is full, which may be the newcomer.

        Raises:
            Saturated: If it is.
        """
        most = self._settings.queue_per_slot * group.tier.slots * max(1, len(group.serving))
        if len(group.waiting) < most:
            return
        shed = Saturated(
            f"Tier {group.tier.name} has no free slot and its queue is full.",
            retry_after_seconds=self._retry_after(group),
        )
        last = group.waiting.last if group.waiting else place
        if last <= place or last.item.granted.done():
            raise shed
        group.waiting.take(last, served=False)
        last.item.granted.set_exception(shed)

    def _unavailable(self, group: Group) -> RouterError:
        """Return why no replica may be asked, which no wait in the queue would change."""
        now, name = self._clock(), group.tier.name
        rest = group.rest(now)
        if rest is None:
            return _no_endpoint(name)
        until, status = rest
        return Saturated(
            f"Every endpoint of tier {name} says that it is full or loading.",
            retry_after_seconds=max(1, ceil(until - now)),
            status=status,
        )

    def _retry_after(self, group: Group) -> int:
        """Return when a slot may be free: the queue's length times a slot's turn, 1 to 60 s."""
        some = balance.shortlist(group.serving.members, 0.0)
        known = [replica.latency_seconds.value for replica in some]
        seconds = max((latency for latency in known if latency is not None), default=1.0)
        slots = group.tier.slots * max(1, len(group.serving))
        return max(1, min(60, round(seconds * (len(group.waiting) + 1) / slots)))


def _was_granted(waiter: Waiter) -> bool:
    granted = waiter.granted
    return granted.done() and not granted.cancelled() and granted.exception() is None


def _no_endpoint(name: str) -> RouterError:
    return NoReadyTier(f"Tier {name} has no endpoint that may be asked now.", retry_after_seconds=5)
