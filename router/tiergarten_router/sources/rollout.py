"""What to start and what to end, from what must run and what runs. Pure.

A replica whose template changed is replaced: with one more at a time while both fit (`surge`), so
that as many serve as before, else one less at a time. A new replica that does not become ready
stops the roll, and the old ones serve on.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from tiergarten_router.core.snapshot import ReplicaState
from tiergarten_router.sources.template import Template

# Which of too many goes first: those that serve nobody.
_WORST_FIRST = (
    ReplicaState.FAILED, ReplicaState.PENDING, ReplicaState.LOADING, ReplicaState.READY,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """What must run of one tier.

    Attributes:
        tier: The tier's name.
        template: What its replicas are started from.
        replicas: How many.
        surge: Whether one more may run while they are replaced.
    """

    tier: str
    template: Template
    replicas: int
    surge: bool = True


@dataclass(frozen=True, slots=True)
class Running:
    """A replica that has not ended.

    Attributes:
        tier: The tier's name.
        index: Its number within the tier.
        template: What it was started from.
        state: What it is doing.
    """

    tier: str
    index: int
    template: Template
    state: ReplicaState


@dataclass(frozen=True, slots=True)
class Steps:
    """What to do now; what follows is decided when that is done.

    Attributes:
        start: Replicas to start, by tier and index.
        end: Replicas to drain and end, by tier and index.
    """

    start: tuple[tuple[str, int], ...] = ()
    end: tuple[tuple[str, int], ...] = ()


def steps(wanted: Iterable[Wanted], running: Iterable[Running]) -> Steps:
    """Return what to start and what to end.

    Args:
        wanted: What must run; a tier that is missing must not run at all.
        running: Everything that runs, also what is on its way out.
    """
    by_tier: dict[str, list[Running]] = {}
    for replica in running:
        by_tier.setdefault(replica.tier, []).append(replica)
    start: list[tuple[str, int]] = []
    end: list[tuple[str, int]] = []
    for tier in wanted:
        there = by_tier.pop(tier.tier, [])
        start += ((tier.tier, index) for index in _start(tier, there))
        end += ((tier.tier, replica.index) for replica in _end(tier, there))
    for rest in by_tier.values():
        end += ((replica.tier, replica.index) for replica in rest if _stays(replica))
    return Steps(tuple(start), tuple(end))


def _start(wanted: Wanted, there: list[Running]) -> Iterator[int]:
    current = [replica for replica in there if _stays(replica) and _is_current(replica, wanted)]
    room = wanted.replicas + wanted.surge - len(there)  # what drains holds its memory still
    missing = min(wanted.replicas - len(current), room)
    used = {replica.index for replica in there}
    free = (index for index in count() if index not in used)
    return (next(free) for _ in range(missing))


def _end(wanted: Wanted, there: list[Running]) -> list[Running]:
    staying = [replica for replica in there if _stays(replica)]
    current = [replica for replica in staying if _is_current(replica, wanted)]
    outdated = [replica for replica in staying if not _is_current(replica, wanted)]
    current.sort(key=_worst_first)
    surplus = current[: max(0, len(current) - wanted.replicas)]
    serving = sum(_is_ready(replica) for replica in (*current[len(surplus) :], *outdated))
    spare = serving - (wanted.replicas if wanted.surge else wanted.replicas - 1)
    idle = [replica for replica in outdated if not _is_ready(replica)]
    ready = sorted(filter(_is_ready, outdated), key=_worst_first)
    return surplus + idle + ready[: max(0, spare)]


def _worst_first(replica: Running) -> tuple[int, int]:
    return _WORST_FIRST.index(replica.state), -replica.index


def _stays(replica: Running) -> bool:
    return replica.state is not ReplicaState.DRAINING


def _is_ready(replica: Running) -> bool:
    return replica.state is ReplicaState.READY


def _is_current(replica: Running, wanted: Wanted) -> bool:
    return replica.template == wanted.template
