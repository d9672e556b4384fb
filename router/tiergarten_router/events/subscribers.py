"""One subscriber: what it wants, and a bounded queue for the time in which it does not read.

While a subscriber reads, events go straight to its sink and nothing is queued. When it does not,
256 events or 1 MiB wait; then they are dropped, it is told once what it missed, and the second time
within a minute it is closed. Nobody waits for it.
"""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeAlias

import msgspec

from tiergarten_router.events import messages
from tiergarten_router.events.kinds import KINDS
from tiergarten_router.events.log import Position
from tiergarten_router.events.messages import Lagged, Notice

QUEUE_EVENTS: Final = 256
QUEUE_BYTES: Final = 1 << 20
FORGIVEN_SECONDS: Final = 60.0  # lagging twice within it ends a subscriber
TOO_SLOW: Final = 4008
NO_PONG: Final = 4010

Shape: TypeAlias = Callable[[bytes, Position | None], bytes]
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Head(msgspec.Struct):
    """What filters look at."""

    type: str
    tier: str = ""
    query: str = ""


head_of = msgspec.json.Decoder(Head).decode


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events a subscriber wants; by default all.

    Attributes:
        kinds: Beginnings of kinds, of which one must fit; none fits all.
        tier: Only events of this tier.
        query: Only events of the query with this id.
    """

    kinds: tuple[str, ...] = ()
    tier: str = ""
    query: str = ""

    def wants(self, head: Head) -> bool:
        """Return whether an event is wanted."""
        return (
            (not self.kinds or head.type.startswith(self.kinds))
            and self.tier in {"", head.tier}
            and self.query in {"", head.query}
        )

    def problem(self) -> str:
        """Return what is wrong with it and how to mend it, empty if nothing is."""
        for prefix in self.kinds:
            if not any(kind.startswith(prefix) for kind in KINDS):
                return f"kind={prefix[:64]!r} fits no kind of event; see /v1/events/schema."
        for name, value in (("tier", self.tier), ("query", self.query)):
            if value and not _NAME.fullmatch(value):
                return f"{name} is up to 64 letters, digits, dots, dashes and underscores."
        return ""


class Chunk(NamedTuple):
    """Messages that are sent together.

    Attributes:
        data: As they go out.
        events: How many.
        first: Sequence of the first, None without one.
        last: Sequence of the last, None without one.
        kept: Whether it survives an overflow, as a reset does.
        missed: How many events it says were dropped.
    """

    data: bytes
    events: int
    first: int | None = None
    last: int | None = None
    kept: bool = False
    missed: int = 0


class Sink(Protocol):
    """Where messages go."""

    @property
    def ready(self) -> bool:
        """Whether it takes messages now."""

    def write(self, data: bytes) -> None:
        """Send messages."""

    async def drained(self) -> None:
        """Wait until it is ready; bounded by the sink."""

    def ping(self) -> None:
        """Ask whether the other side is there."""

    def answered(self) -> bool:
        """Return whether the last ping was answered."""

    def end(self, code: int, reason: str) -> None:
        """Close."""


class Subscriber:
    """Somebody who is told of events.

    Args:
        wanted: Which.
        shape: Returns a message as it goes out, of its JSON and its place.
        sink: Where messages go.
        clock: Monotonic seconds.
        lagged: Called when events are dropped.

    Attributes:
        after: Sequence up to which it has been served by a replay.
    """

    __slots__ = (
        "_bytes", "_clock", "_count", "_lagged", "_lagged_at", "_queue",
        "after", "ended", "shape", "sink", "slot", "wanted",
    )  # fmt: skip

    def __init__(
        self,
        wanted: Filter,
        shape: Shape,
        sink: Sink,
        clock: Callable[[], float],
        lagged: Callable[[], None],
    ) -> None:
        self.wanted = wanted
        self.shape = shape
        self.sink = sink
        self.after = 0
        self.slot = 0
        self.ended = False
        self._clock = clock
        self._lagged = lagged
        self._lagged_at = float("-inf")
        self._queue: deque[Chunk] = deque()
        self._count = 0
        self._bytes = 0

    @property
    def key(self) -> tuple[Shape, Filter]:
        """Subscribers with the same key get the same bytes."""
        return self.shape, self.wanted

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for it to read."""
        return self._bytes

    @property
    def clear(self) -> bool:
        """Whether what is offered now goes out at once; an ended one takes and drops anything."""
        return self.ended or (not self._queue and self.sink.ready)

    def offer(self, chunk: Chunk) -> None:
        """Send messages, or queue them."""
        if self.ended:
            return
        if not self._queue and self.sink.ready:
            self.sink.write(chunk.data)
        elif self._fits(chunk):
            self._push(chunk)
        else:
            self._overflow(chunk)

    def notice(self, notice: Notice, position: Position, *, kept: bool = False) -> None:
        """Send a notice, in its order."""
        data = self.shape(messages.encode(notice), position)
        self.offer(Chunk(data, 0, position.seq, position.seq, kept))

    def beat(self, data: bytes) -> None:
        """Send a heartbeat, if there is one, and ask whether the other side is there."""
        if not self.ended:
            if data and not self._queue and self.sink.ready:
                self.sink.write(data)
            self.sink.ping()

    def check(self) -> None:
        """End it if it has not answered."""
        if not self.ended and not self.sink.answered():
            self.end(NO_PONG, "no pong")

    def drain(self) -> None:
        """Send what is queued; called when the sink is ready again."""
        while self._queue and self.sink.ready and not self.ended:
            chunk = self._queue.popleft()
            self._count -= chunk.events
            self._bytes -= len(chunk.data)
            self.sink.write(chunk.data)

    def end(self, code: int, reason: str) -> None:
        """Close it; what is queued is dropped."""
        self.ended = True
        self._clear()
        self.sink.end(code, reason)

    def _fits(self, chunk: Chunk) -> bool:
        return (
            self._count + chunk.events <= QUEUE_EVENTS
            and self._bytes + len(chunk.data) <= QUEUE_BYTES
        )

    def _push(self, chunk: Chunk) -> None:
        self._queue.append(chunk)
        self._count += chunk.events
        self._bytes += len(chunk.data)

    def _clear(self) -> None:
        self._queue.clear()
        self._count = self._bytes = 0

    def _overflow(self, chunk: Chunk) -> None:
        """Drop what waits, and say so; a reset is kept, what follows makes no sense alone."""
        self._lagged()
        now = self._clock()
        if now - self._lagged_at < FORGIVEN_SECONDS:
            self.end(TOO_SLOW, "too slow")
            return
        self._lagged_at = now
        kept: list[Chunk] = []
        dropped: list[Chunk] = []
        for queued in self._queue:
            if queued.kept:
                kept, dropped = [queued], []
            else:
                dropped.append(queued)
        self._clear()
        fits = self._fits(chunk)
        if not fits:
            dropped.append(chunk)
        for left in (*kept, self._told_of(dropped), *([chunk] if fits else ())):
            self._push(left)

    def _told_of(self, dropped: list[Chunk]) -> Chunk:
        told = [chunk for chunk in dropped if chunk.first is not None and _tells(chunk)]
        first, last = (told[0].first, told[-1].last) if told else (None, None)
        count = sum(chunk.events + chunk.missed for chunk in dropped)
        lagged = Lagged(first=first, last=last, count=count)
        return Chunk(self.shape(messages.encode(lagged), None), 0, first, last, missed=count)


def _tells(chunk: Chunk) -> bool:
    return bool(chunk.events or chunk.missed)
