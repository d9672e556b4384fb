"""What becomes of an answer that the cache did not have: kept once whole, and given to others.

A stream is relayed as it comes and recorded beside that; only its end makes it an entry.
"""

from collections.abc import Callable
from typing import Final, Protocol

from tiergarten_router.cache.answers import Answers, Flight
from tiergarten_router.cache.entry import Entry
from tiergarten_router.dispatch import Answer
from tiergarten_router.errors import RouterError
from tiergarten_router.record import Record
from tiergarten_router.upstream.intake import Event

KEPT_BYTES_MAX: Final = 4 * 1024 * 1024  # of a stream; a longer one is relayed and forgotten


class Whole(Protocol):
    """An answer that is whole."""

    @property
    def text(self) -> str:
        """What the first choice says."""
        ...

    def chat(self) -> bytes:
        """Return it as the JSON of a chat completion."""
        ...

    def completion(self) -> bytes:
        """Return it as the JSON of a legacy completion."""
        ...


class Streamed(Protocol):
    """An answer that has begun."""

    async def next(self) -> list[Event]:
        """Return the events that have come since; empty at the end."""
        ...

    @property
    def whole(self) -> bool:
        """Whether all of it has come, so that `next` waits no more."""
        ...

    def tap(self, take: Callable[[list[Event]], bool]) -> None:
        """Have events taken in the moment in which they come; False leaves them to `next`."""
        ...

    def close(self) -> None:
        """End it; before its end, it is left."""
        ...


class Asked:
    """A query that the cache may not answer, or did not: what becomes of its answer.

    Args:
        answers: Where it is kept.
        key: Its key, None when it is not kept.
        flight: What waits for it, None when nobody can.
        ttl_seconds: How long it may be used.
    """

    def __init__(
        self, answers: Answers, key: bytes | None, flight: Flight | None, ttl_seconds: float
    ) -> None:
        self.keeps = key is not None
        self._answers = answers
        self._key = key
        self._flight = flight
        self._ttl_seconds = ttl_seconds

    def keep(self, record: Record, events: list[bytes]) -> None:
        """Keep a whole answer, and give it to those who wait."""
        if self._key is None:
            return
        rated = record.rated
        kept = self._answers.keep(
            self._key,
            Entry(
                events,
                record.tier,
                record.model,
                rated.score,
                rated.reasons,
                self._ttl_seconds,
                record.usage,
                record.timings,
            ),
        )
        if self._flight is not None:
            self._flight.land(kept)

    def failed(self, *, left: bool) -> None:
        """Tell those who wait that there is no answer, unless they have it.

        Args:
            left: Whether nothing failed: the client left.
        """
        if self._flight is not None:
            self._flight.land(None, left=left)


class Recording:
    """A stream that is relayed and kept once it is whole.

    Args:
        answer: The stream.
        asked: What keeps it.
    """

    def __init__(self, answer: Answer, asked: Asked) -> None:
        self._answer = answer
        self._asked = asked
        self._left = KEPT_BYTES_MAX
        self._events: list[bytes] = []

    async def next(self) -> list[Event]:
        """Return the events that have come since; empty at the end."""
        try:
            events = await self._answer.next()
        except RouterError:
            self._asked.failed(left=False)
            raise
        if events:
            self._take(events)
        elif self._left >= 0:
            self._asked.keep(self._answer.record, self._events)
        return events

    @property
    def whole(self) -> bool:
        """Whether all of it has come, so that `next` waits no more."""
        return self._answer.whole

    def tap(self, take: Callable[[list[Event]], bool]) -> None:
        """Have events taken in the moment in which they come; False leaves them to `next`."""

        def recorded(events: list[Event]) -> bool:
            taken = take(events)
            if taken:
                self._take(events)
            return taken

        self._answer.tap(recorded)

    def close(self) -> None:
        """End it; what is not whole is forgotten."""
        self._answer.close()
        self._asked.failed(left=True)

    def _take(self, events: list[Event]) -> None:
        if self._left < 0:
            return
        raws = [event.raw for event in events]
        self._left -= sum(map(len, raws))
        self._events += raws
        if self._left < 0:
            self._events.clear()
            self._asked.failed(left=False)
