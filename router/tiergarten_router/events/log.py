"""What a log of events promises, and the log in memory.

A log gives every event a sequence (+1) within an epoch, keeps a window of them, and tells its
listener what is new, in order. `redis_log` keeps the same promises for many routers; this one is
for a router alone: its epoch begins with the process.

`append` lies on the way of every query, so it only puts the event down. It is made JSON once, when
somebody listens or asks for it.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from tiergarten_router.events import kinds, messages
from tiergarten_router.events.kinds import Event
from tiergarten_router.events.messages import Reset

WINDOW_EVENTS: Final = 10_000
WINDOW_SECONDS: Final = 900.0
PAGE: Final = 500  # events that are read at once
COALESCE_SECONDS: Final = 0.005  # events that come together are sent together
MARK_SECONDS: Final = 15.0  # how exactly the window's time is kept


class LogDown(Exception):
    """The log cannot be read now."""


class Position(NamedTuple):
    """A place in the stream: everything up to and with `seq`; 0 is before the first event."""

    epoch: str
    seq: int


class Span(NamedTuple):
    """What a log holds now: `first` to `last`; none where `first` is `last + 1`."""

    epoch: str
    first: int
    last: int


class Page(NamedTuple):
    """Events that follow each other: the sequence of the first, and their JSON."""

    epoch: str
    first: int
    payloads: list[bytes]

    @property
    def end(self) -> Position:
        """The place after them."""
        return Position(self.epoch, self.first + len(self.payloads) - 1)


class Listener(Protocol):
    """Who is told of new events while anybody listens."""

    def begins(self, position: Position) -> None:
        """Take note of where the stream stands; what follows is told."""

    async def deliver(self, page: Page) -> None:
        """Pass the next events on."""

    async def lose(self, payloads: list[bytes]) -> None:
        """Pass events on that got no place, because the log is down; maybe none."""

    async def reset(self, reset: Reset) -> None:
        """Tell of a hole; what follows goes on after the reset's place."""


class Log(Protocol):
    """A log of events."""

    def append(self, event: Event) -> None:
        """Take an event; never waits."""

    async def span(self) -> Span:
        """Return what is held now.

        Raises:
            LogDown: If that is not known now.
        """

    async def page(self, after: Position, most: int = PAGE) -> Page | Reset:
        """Return the events after a place, none if there are none; a reset if some are not held.

        Raises:
            LogDown: If that is not known now.
        """

    def listen(self) -> None:
        """Tell the listener from now on; it learns first where the stream stands."""

    def unlisten(self) -> None:
        """Tell it no longer."""

    async def run(self, listener: Listener) -> None:
        """Tell the listener until cancelled."""

    async def flush(self) -> None:
        """Wait until what was appended has been told, or could not be."""


def outside(after: Position, held: Span) -> Reset | None:
    """Return why what follows a place is not all held, or None if it is."""
    reason = ""
    if after.epoch != held.epoch:
        reason = "epoch"
    elif after.seq > held.last:
        reason = "future"
    elif after.seq < held.first - 1:
        reason = "window"
    return Reset(held.epoch, held.last, reason) if reason else None


class MemoryLog:
    """The log of a router alone.

    Args:
        router: The router's name, told in each event.
        clock: Monotonic seconds.
    """

    def __init__(self, router: str, clock: Callable[[], float]) -> None:
        self._router = router
        self._clock = clock
        self._epoch = secrets.token_hex(8)
        self._events: deque[Event | bytes] = deque(maxlen=WINDOW_EVENTS)
        self._last = 0
        self._told: Position | None = None  # None while nobody listens
        self._new = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._marks: deque[tuple[float, int]] = deque()

    def append(self, event: Event) -> None:
        """Take an event."""
        self._events.append(event)
        self._last += 1
        if self._told is not None:
            self._new.set()

    async def span(self) -> Span:
        """Return what is held now."""
        return self._span()

    async def page(self, after: Position, most: int = PAGE) -> Page | Reset:
        """Return the events after a place; a reset if some are not held."""
        held = self._span()
        gap = outside(after, held)
        if gap is not None:
            return gap
        skipped = after.seq + 1 - held.first
        count = min(most, held.last - after.seq)
        payloads = [self._payload(index) for index in range(skipped, skipped + count)]
        return Page(self._epoch, after.seq + 1, payloads)

    def listen(self) -> None:
        """Tell the listener from now on."""
        self._told = Position(self._epoch, self._last)
        self._new.set()

    def unlisten(self) -> None:
        """Tell it no longer."""
        self._told = None

    async def run(self, listener: Listener) -> None:
        """Tell the listener until cancelled, and forget what is too old."""
        while True:
            try:
                async with asyncio.timeout(MARK_SECONDS):
                    await self._new.wait()
            except TimeoutError:
                self.forget()
                continue
            self._new.clear()
            self._idle.clear()
            await self._tell(listener)
            self._idle.set()

    async def flush(self) -> None:
        """Wait until what was appended has been told."""
        while self._told is not None and self._told.seq < self._last:
            await asyncio.sleep(COALESCE_SECONDS)
            await self._idle.wait()

    async def _tell(self, listener: Listener) -> None:
        if self._told is not None:
            listener.begins(self._told)
        await asyncio.sleep(COALESCE_SECONDS)
        while self._told is not None and self._told.seq < self._last:
            found = await self.page(self._told)
            if isinstance(found, Reset):
                self._told = Position(found.epoch, found.seq)
                await listener.reset(found)
                continue
            self._told = found.end
            await listener.deliver(found)

    def _span(self) -> Span:
        return Span(self._epoch, self._last - len(self._events) + 1, self._last)

    def _payload(self, index: int) -> bytes:
        """Return an event's JSON, which is made once."""
        held = self._events[index]
        if not isinstance(held, bytes):
            held = self._events[index] = messages.envelope(self._router, kinds.encode(held))
        return held

    def forget(self) -> None:
        """Drop what is older than the window; `run` does it now and then."""
        now = self._clock()
        self._marks.append((now, self._last))
        oldest = self._last - len(self._events)
        while self._marks and self._marks[0][0] < now - WINDOW_SECONDS:
            _, seq = self._marks.popleft()
            while oldest < seq:
                self._events.popleft()
                oldest += 1
