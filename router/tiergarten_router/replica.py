"""One endpoint and what the router has seen of it, and lists of such that are cheap to keep."""

from dataclasses import dataclass, field
from math import inf
from typing import Final

from tiergarten_router.core import breaker
from tiergarten_router.core.breaker import Breaker
from tiergarten_router.core.snapshot import Endpoint, ReplicaState

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
        rests_until: Clock time until which it said that it is full or loading.
        rest_status: The status that it said so with; 0 if it is not that it has too much to do.
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
    rests_until: float = -inf
    rest_status: int = 0
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

    @property
    def drains(self) -> bool:
        """Whether it is about to end, and serves until then."""
        draining = self.endpoint.state is ReplicaState.DRAINING
        return draining and self.failed_checks < UNHEALTHY_AFTER

    def does_well(self, now: float) -> bool:
        """Return whether it answers nearly everything, so that a retry there is no burden."""
        return now >= self.rests_until and self.breaker.answers(now)


class Roster:
    """Replicas in no order, of which each is added and dropped at the same small cost."""

    def __init__(self) -> None:
        self.members: list[Replica] = []
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.members)

    def __contains__(self, replica: Replica) -> bool:
        return replica.endpoint.id in self._places

    def keep(self, replica: Replica, *, member: bool) -> None:
        """Let a replica be a member, or not."""
        ident, members = replica.endpoint.id, self.members
        place = self._places.get(ident)
        if place is None:
            if member:
                self._places[ident] = len(members)
                members.append(replica)
        elif not member:
            del self._places[ident]
            last = members.pop()
            if last is not replica:
                members[place] = last
                self._places[last.endpoint.id] = place
