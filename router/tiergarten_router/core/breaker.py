"""When an endpoint is left alone after failures, and how it comes back.

    closed  -- 5 failures in a row, or half of at least 10 outcomes in 10 s -->  open
    open    -- its time is over: one query is the probe                     -->  half-open
    half-open -- the probe answered                                         -->  closed
    half-open -- the probe failed                                           -->  open, twice as long

Outcomes carry the time at which their query began: what began before the breaker opened says
nothing about the time since, so it neither closes it nor makes it stay open longer. Times are
seconds of one clock that never jumps.
"""

from enum import StrEnum
from math import inf
from typing import Final, TypeAlias

from msgspec import Struct

CONSECUTIVE: Final = 5  # failures in a row that open
LEAST_OUTCOMES: Final = 10  # outcomes in the window before their share of failures counts
GOOD_FAILURES: Final = 0.2  # an endpoint that answers well fails no larger share than this
WINDOW_SECONDS: Final = 10  # counted by whole seconds
SHORTEST_SECONDS: Final = 1.0  # first open time
LONGEST_SECONDS: Final = 60.0
SETTLED_SECONDS: Final = 60.0  # closed for as long as the longest open time: healed
SLOW_START_SECONDS: Final = 10.0
SLOW_START_SHARE: Final = 0.1

Counts: TypeAlias = tuple[tuple[int, int, int], ...]  # (second, successes, failures), oldest first


class Phase(StrEnum):
    """What a breaker does with queries."""

    CLOSED = "closed"  # admits all
    OPEN = "open"  # admits none until its time is over
    HALF_OPEN = "half-open"  # one query is out as a probe


class Breaker(Struct, frozen=True):
    """The breaker of one endpoint; a new one is closed.

    Attributes:
        phase: What it does with queries.
        failures: Failures in a row.
        counts: Outcomes of the last seconds.
        openings: How often it opened without having been closed for long in between.
        since: When it last opened or closed.
        until: When it next admits a probe; of no meaning while closed.
    """

    phase: Phase = Phase.CLOSED
    failures: int = 0
    counts: Counts = ()
    openings: int = 0
    since: float = -inf
    until: float = -inf

    def admits(self, now: float) -> bool:
        """Return whether a query may go to the endpoint; if one does, call `admitted`."""
        phase = self.phase
        return phase is Phase.CLOSED or (phase is Phase.OPEN and now >= self.until)

    def admitted(self, now: float) -> "Breaker":
        """Return the breaker after a query went to the endpoint: it may be the probe."""
        if self.phase is not Phase.OPEN or now < self.until:
            return self
        return Breaker(Phase.HALF_OPEN, self.failures, (), self.openings, self.since, self.until)

    def succeeded(self, now: float, began: float) -> "Breaker":
        """Return the breaker after an answer that was whole.

        Args:
            now: The present.
            began: When the attempt began.
        """
        if self.phase is Phase.CLOSED:
            counts = _counted(self.counts, now, failed=False)
            return Breaker(self.phase, 0, counts, self.openings, self.since, self.until)
        if began < self.since:
            return self
        counts = _counted((), now, failed=False)
        return Breaker(Phase.CLOSED, 0, counts, self.openings, now)

    def failed(self, now: float, began: float, jitter: float = 1.0) -> "Breaker":
        """Return the breaker after an attempt that failed and is counted (`AttemptFailed.breaks`).

        Args:
            now: The present.
            began: When the attempt began.
            jitter: A random factor from [0.5, 1.5] for the open time, so that routers which saw
                the same failure do not all come back at the same moment.
        """
        if self.phase is Phase.CLOSED:
            if began < self.since:
                return self  # a straggler from before it opened and closed again
            failures, counts = self.failures + 1, _counted(self.counts, now, failed=True)
            if failures < CONSECUTIVE and not _mostly_failed(counts):
                return Breaker(self.phase, failures, counts, self.openings, self.since, self.until)
            # A probe that succeeds says little. An endpoint that fails again soon after is still
            # ill and waits longer each time; one that worked for a minute starts anew.
            settled = now - self.since >= SETTLED_SECONDS
            return self._opened(now, 1 if settled else self.openings + 1, failures, jitter)
        if self.phase is Phase.HALF_OPEN and began >= self.since:
            return self._opened(now, self.openings + 1, self.failures + 1, jitter)
        return self

    def abandoned(self, now: float, began: float, *, busy: bool = False) -> "Breaker":
        """Return the breaker after an attempt that says nothing about the endpoint's health.

        Without this a probe that comes to nothing would leave the endpoint half-open for good.

        Args:
            now: The present.
            began: When the attempt began.
            busy: Whether the endpoint said that it is loading or full, and should be left alone
                for as long again; if not, as when the client left, the next query is the probe.
        """
        if self.phase is not Phase.HALF_OPEN or began < self.since:
            return self
        until = now + _open_seconds(self.openings) if busy else now
        return Breaker(Phase.OPEN, self.failures, (), self.openings, self.since, until)

    def share(self, now: float) -> float:
        """Return the part of its slots that the endpoint gets: 0.1 to 1 over 10 s after closing."""
        elapsed = now - self.since
        if elapsed >= SLOW_START_SECONDS or self.phase is not Phase.CLOSED:
            return 1.0
        return max(SLOW_START_SHARE, elapsed / SLOW_START_SECONDS)

    def answers(self, now: float) -> bool:
        """Return whether the endpoint has answered lately, and nearly always."""
        if self.phase is not Phase.CLOSED:
            return False
        good = bad = 0
        for second, successes, failures in self.counts:
            if second > now - WINDOW_SECONDS:
                good += successes
                bad += failures
        return good > 0 and bad <= GOOD_FAILURES * (good + bad)

    def _opened(self, now: float, openings: int, failures: int, jitter: float) -> "Breaker":
        seconds = min(LONGEST_SECONDS, _open_seconds(openings) * jitter)
        return Breaker(Phase.OPEN, failures, (), openings, now, now + seconds)


NEW: Final = Breaker()


def panics(closed: int, total: int) -> bool:
    """Return whether a tier's breakers are to be ignored: fewer than half of them are closed.

    So many failures say more about the network or the query than about the endpoints, and an
    endpoint that may fail is better than none. A tier's only endpoint is never left out thereby.

    Args:
        closed: Replicas whose breaker is closed.
        total: All ready replicas of the tier.
    """
    return 2 * closed < total


def _counted(counts: Counts, now: float, *, failed: bool) -> Counts:
    second = int(now)
    if counts and counts[-1][0] == second:
        _, good, bad = counts[-1]
        kept = counts[:-1]
    else:
        good = bad = 0
        kept = tuple(count for count in counts if count[0] > second - WINDOW_SECONDS)
    return (*kept, (second, good + (not failed), bad + failed))


def _mostly_failed(counts: Counts) -> bool:
    good = sum(count[1] for count in counts)
    bad = sum(count[2] for count in counts)
    return good + bad >= LEAST_OUTCOMES and bad >= good


def _open_seconds(openings: int) -> float:
    return min(LONGEST_SECONDS, SHORTEST_SECONDS * 2.0 ** min(openings - 1, 16))
