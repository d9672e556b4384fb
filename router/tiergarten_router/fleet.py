"""The one mutable picture: tiers, their endpoints, queries in flight, breakers, queues, health.

A source replaces the snapshot, the health checks report, and dispatch leases endpoints. There is no
await between a choice and its bookkeeping, so one event loop needs no locks.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tiergarten_router.core import balance, breaker, context, routes
from tiergarten_router.core.breaker import Breaker, Phase
from tiergarten_router.core.health import Health
from tiergarten_router.core.snapshot import Endpoint, ReplicaState, Snapshot, Tier
from tiergarten_router.errors import NoReadyTier, RouterError, Saturated
from tiergarten_router.settings import Settings

SMOOTHING: Final = 0.2  # weight of the newest observation in a moving average
UNHEALTHY_AFTER: Final = 2  # checks in a row, as a readiness probe counts


@dataclass(slots=True)
class Average:
    """A moving average; None before the first observation."""

    value: float | None = None

    def add(self, observed: float) -> None:
        """Take in one observation."""
        old = self.value
        self.value = observed if old is None else old + SMOOTHING * (observed - old)


@dataclass(slots=True)
class Replica:
    """One endpoint and what the router has seen of it.

    Attributes:
        endpoint: What the source says.
        in_flight: Leases that are open.
        breaker: Whether it may be asked.
        failed_checks: Health checks that failed in a row.
        checked_at: Clock time of the last check, None before the first.
        message: Why the last check failed, empty if it did not.
        elsewhere: Queries inside the endpoint that did not come from here, at the last check.
        busy: Slots that the endpoint works in by its own count, None if it does not tell.
        deferred: Queries that wait inside it, None if it does not tell.
        check_seconds: How long the last good check took.
        latency_seconds: Moving average of whole answers.
        first_token_seconds: Moving average of first contents.
        tokens_per_second: Moving average of generation.
        answered: Queries that ended well.
        failed: Attempts that did not.
    """

    endpoint: Endpoint
    in_flight: int = 0
    breaker: Breaker = breaker.NEW
    failed_checks: int = 0
    checked_at: float | None = None
    message: str = ""
    elsewhere: int = 0
    busy: int | None = None
    deferred: int | None = None
    check_seconds: float = 0.0
    latency_seconds: Average = field(default_factory=Average)
    first_token_seconds: Average = field(default_factory=Average)
    tokens_per_second: Average = field(default_factory=Average)
    answered: int = 0
    failed: int = 0

    @property
    def id(self) -> str:
        """The endpoint's id."""
        return self.endpoint.id

    @property
    def serves(self) -> bool:
        """Whether the source and the health checks let it be asked."""
        ready = self.endpoint.state is ReplicaState.READY
        return ready and self.failed_checks < UNHEALTHY_AFTER


@dataclass(slots=True)
class Waiter:
    """A query that waits for a slot of a tier."""

    tried: Collection[str]
    granted: "asyncio.Future[Replica]"


@dataclass(slots=True)
class Group:
    """A tier, its replicas, and those who wait for one of them."""

    tier: Tier
    replicas: dict[str, Replica]
    waiting: deque[Waiter] = field(default_factory=deque)


class Lease:
    """The claim on an endpoint while an attempt is open.

    Attributes:
        tier: The endpoint's tier.
        replica: The endpoint.
        began: Clock time of the claim.
    """

    __slots__ = ("_fleet", "_open", "began", "replica", "tier")

    def __init__(self, fleet: "Fleet", tier: Tier, replica: Replica, began: float) -> None:
        self.tier = tier
        self.replica = replica
        self.began = began
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
        on_breaker: Told the tier, the endpoint and the new state of a breaker that changed.
        on_health: Told the tier, the endpoint, and whether its health checks let it be asked now.
    """

    def __init__(
        self, settings: Settings, clock: Callable[[], float], draw: Callable[[], float]
    ) -> None:
        self.routes = routes.NO_ROUTES
        self.synced = False
        self.characters_per_token = context.CHARACTERS_PER_TOKEN
        self.on_breaker: Callable[[str, str, str], None] = lambda _tier, _endpoint, _to: None
        self.on_health: Callable[[str, str, bool], None] = lambda _tier, _endpoint, _healthy: None
        self._settings = settings
        self._clock = clock
        self._draw = draw
        self._groups: dict[str, Group] = {}
        self._turns = 0

    # -- what a source and the health checks tell

    def replace(self, snapshot: Snapshot) -> None:
        """Take a snapshot over; endpoints that stay keep their counts and breakers."""
        groups = {}
        for tier in snapshot.tiers:
            group = self._groups.get(tier.name)
            if group is None:
                group = Group(tier, {})
            group.tier = tier
            group.replicas = dict(_replicas(group.replicas, tier.endpoints))
            groups[tier.name] = group
        gone = [group for name, group in self._groups.items() if name not in groups]
        self._groups = groups
        self.routes = routes.compile_routes(snapshot)
        self.synced = True
        for group in gone:
            group.replicas = {}
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
        return group is not None and any(replica.serves for replica in group.replicas.values())

    async def lease(self, name: str, tried: Collection[str], until: float) -> Lease:
        """Claim an endpoint of a tier, in the tier's queue if every slot is taken.

        Args:
            name: The tier.
            tried: Ids of endpoints that are not asked again.
            until: Clock time after which the query is given up.

        Raises:
            NoReadyTier: If no endpoint may be asked.
            Saturated: If the queue is full, or the wait in it was too long.
        """
        group = self._groups.get(name)
        if group is None:
            raise _no_endpoint(name)
        if not group.waiting:
            replica = self._claim(group, tried)
            if replica is not None:
                return Lease(self, group.tier, replica, self._clock())
        if not self._admissible(group, tried):
            raise _no_endpoint(name)
        if len(group.waiting) >= self._queue_length(group):
            raise Saturated(
                f"Tier {name} has no free slot and its queue is full.",
                retry_after_seconds=self._retry_after(group),
            )
        granted = await self._wait(group, tried, until)
        return Lease(self, group.tier, granted, self._clock())

    def released(self, name: str, replica: Replica) -> None:
        """Take a slot back and hand it to whoever waits; called by leases only."""
        replica.in_flight -= 1
        group = self._groups.get(name)
        if group is not None:
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

    def abandoned(self, lease: Lease, *, busy: bool = False) -> None:
        """Take in an attempt that says nothing about the endpoint's health.

        Args:
            lease: The attempt's.
            busy: Whether the endpoint said that it is loading or full.
        """
        now = self._clock()
        self._turn(lease, lease.replica.breaker.abandoned(now, lease.began, busy=busy))

    def learn(self, characters: int, prompt_tokens: int) -> None:
        """Learn how long a token is from a prompt that an endpoint has counted."""
        self.characters_per_token = context.learn(
            self.characters_per_token, characters, prompt_tokens
        )

    # -- inside

    def _turn(self, lease: Lease, after: Breaker) -> None:
        before, lease.replica.breaker = lease.replica.breaker, after
        if after.phase is not before.phase:
            self.on_breaker(lease.tier.name, lease.replica.id, after.phase.value)

    def _admissible(self, group: Group, tried: Collection[str]) -> list[Replica]:
        serving = [replica for replica in group.replicas.values() if replica.serves]
        now = self._clock()
        closed = sum(replica.breaker.phase is Phase.CLOSED for replica in serving)
        admitting = serving
        if closed < len(serving) and not breaker.panics(closed, len(serving)):
            admitting = [replica for replica in serving if replica.breaker.admits(now)]
        return [replica for replica in admitting if replica.endpoint.id not in tried]

    def _claim(self, group: Group, tried: Collection[str]) -> Replica | None:
        slots, now = group.tier.slots, self._clock()
        free = [r for r in self._admissible(group, tried) if r.in_flight < slots]

        def load(replica: Replica) -> float:
            share = replica.breaker.share(now)
            return balance.load(replica.in_flight, replica.elsewhere, slots, share)

        self._turns += 1
        replica = balance.pick(free, load, self._turns)
        if replica is not None:
            replica.in_flight += 1
            before, replica.breaker = replica.breaker, replica.breaker.admitted(now)
            if replica.breaker.phase is not before.phase:
                self.on_breaker(group.tier.name, replica.id, replica.breaker.phase.value)
        return replica

    def _serve(self, group: Group) -> None:
        """Hand free slots to those who wait, in order; tell those who can get none.

        A retry that must not have the endpoint that is free does not keep it from others.
        """
        for waiter in list(group.waiting):
            if waiter.granted.done():
                continue
            replica = self._claim(group, waiter.tried)
            if replica is not None:
                waiter.granted.set_result(replica)
            elif not self._admissible(group, waiter.tried):
                waiter.granted.set_exception(_no_endpoint(group.tier.name))
            elif not waiter.tried:
                return

    async def _wait(self, group: Group, tried: Collection[str], until: float) -> Replica:
        waiter = Waiter(tried, asyncio.get_running_loop().create_future())
        group.waiting.append(waiter)
        self._serve(group)  # who waits may be granted already, and a slot free all the same
        patience = max(0.0, min(self._settings.queue_seconds, until - self._clock()))
        try:
            async with asyncio.timeout(patience):
                return await waiter.granted
        except (TimeoutError, asyncio.CancelledError) as error:
            if _was_granted(waiter):  # in the same moment; nobody will use it
                lease = Lease(self, group.tier, waiter.granted.result(), self._clock())
                self.abandoned(lease)
                lease.release()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise Saturated(
                f"Tier {group.tier.name} had no free slot in {patience:.0f} s.",
                retry_after_seconds=self._retry_after(group),
            ) from error
        finally:
            group.waiting.remove(waiter)

    def _queue_length(self, group: Group) -> int:
        serving = sum(replica.serves for replica in group.replicas.values())
        return self._settings.queue_per_slot * group.tier.slots * max(1, serving)

    def _retry_after(self, group: Group) -> int:
        """Return when a slot may be free: the queue's length times a slot's turn, 1 to 60 s."""
        known = [r.latency_seconds.value for r in group.replicas.values() if r.serves]
        seconds = max((latency for latency in known if latency is not None), default=1.0)
        slots = group.tier.slots * max(1, len(known))
        return max(1, min(60, round(seconds * (len(group.waiting) + 1) / slots)))


def _was_granted(waiter: Waiter) -> bool:
    granted = waiter.granted
    return granted.done() and not granted.cancelled() and granted.exception() is None


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


def _no_endpoint(name: str) -> RouterError:
    return NoReadyTier(f"Tier {name} has no endpoint that may be asked now.", retry_after_seconds=5)
