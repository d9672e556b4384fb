"""Where new events meet their subscribers: a fan-out that builds each message once.

Subscribers that want the same in the same shape form a group; a page of events is filtered, framed
and joined once for each group, and each member's sink gets the same bytes. A subscriber that comes
with a place is first served from the log, a page at a time as fast as it reads, and joins its group
at the moment at which both stand at the same place: no gap, no event twice.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tiergarten_router.events import messages
from tiergarten_router.events.batches import Batch
from tiergarten_router.events.heartbeats import SLOTS, Wheel
from tiergarten_router.events.log import PAGE, Log, LogDown, Page, Position
from tiergarten_router.events.messages import Heartbeat, Reset
from tiergarten_router.events.subscribers import TOO_SLOW, Filter, Shape, Sink, Subscriber
from tiergarten_router.metrics import Metrics

SLICE: Final = 256  # subscribers that are served before others have their turn
RETRY_SECONDS: Final = 0.1
GIVEN_UP: Final = 1013  # "try again later"


@dataclass(frozen=True, slots=True)
class Start:
    """Where a subscriber begins; by default with what is told from now on.

    Attributes:
        after: The last place that it has seen.
        latest: How many of the events before now it wants, where it has no place.
    """

    after: Position | None = None
    latest: int = 0


class Hub:
    """Passes events on to everybody who listens on this router.

    Args:
        log: The log.
        metrics: Where deliveries are counted.
        clock: Monotonic seconds.
        heartbeat_seconds: How often a subscriber hears where the stream stands.

    Attributes:
        patience_seconds: How long to wait for the log, and to come to a subscriber's place.
        stall_seconds: How long one that is served from the log may not read.
    """

    patience_seconds = 5.0
    stall_seconds = 30.0

    def __init__(
        self, log: Log, metrics: Metrics, clock: Callable[[], float], heartbeat_seconds: float
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._clock = clock
        self._beat_seconds = heartbeat_seconds / SLOTS
        self._groups: dict[tuple[Shape, Filter], set[Subscriber]] = {}
        self._ahead: set[Subscriber] = set()  # served beyond the hub's place
        self._parked: set[Subscriber] = set()  # wait for the log, to go on where they were
        self._all: set[Subscriber] = set()
        self._wheel = Wheel()
        self._place: Position | None = None
        self._down = False
        self._moved = asyncio.Event()

    # -- subscribers

    def subscriber(self, wanted: Filter, shape: Shape, sink: Sink) -> Subscriber:
        """Return a subscriber, to be served."""
        return Subscriber(wanted, shape, sink, self._clock, self._metrics.ws_lagged.add)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for subscribers to read."""
        return sum(subscriber.queued_bytes for subscriber in tuple(self._all))  # a thread asks

    async def serve(self, subscriber: Subscriber, start: Start) -> None:
        """Tell a subscriber what it has missed, and let it join the live ones."""
        if not self._all:
            self._place, self._down = None, False
            self._log.listen()
        self._all.add(subscriber)
        try:
            async with asyncio.timeout(self.patience_seconds):
                while self._place is None and not self._down:
                    await self._moved.wait()
        except TimeoutError:
            subscriber.end(GIVEN_UP, "the log of events does not answer")
            return
        if start.after is not None:
            await self._resume(subscriber, start.after)
        elif start.latest:
            await self._latest(subscriber, start.latest)
        else:
            self._join(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """Forget a subscriber."""
        self._all.discard(subscriber)
        self._ahead.discard(subscriber)
        self._parked.discard(subscriber)
        self._wheel.discard(subscriber)
        group = self._groups.get(subscriber.key, set())
        group.discard(subscriber)
        if not group:
            self._groups.pop(subscriber.key, None)
        if not self._all:
            self._log.unlisten()

    def close(self, code: int, reason: str) -> None:
        """End every subscriber."""
        for subscriber in list(self._all):
            subscriber.end(code, reason)

    # -- what the log tells

    def begins(self, position: Position) -> None:
        """Take note of where the stream stands."""
        if self._place is None:
            self._move(position)

    async def deliver(self, page: Page) -> None:
        """Pass the next events on; returns when everybody has been served or has them queued."""
        if self._place is not None and self._place != (page.epoch, page.first - 1):
            await self.reset(Reset(page.epoch, page.first - 1, "window"))
        self._move(page.end)
        await self._send(Batch(page.payloads, page.epoch, page.first))

    async def lose(self, payloads: list[bytes]) -> None:
        """Pass on events that got no place."""
        self._down = True
        self._signal()
        if payloads:
            batch = Batch(payloads)
            for subscriber in self._parked:
                chunk = batch.chunk(subscriber.key)
                if chunk is not None:
                    subscriber.offer(chunk)
            await self._send(batch)

    async def reset(self, reset: Reset) -> None:
        """Tell everybody of a hole; one that is served beyond it already goes on from there."""
        ahead = self._place is not None and self._place.epoch == reset.epoch
        self._down = False
        self._move(Position(reset.epoch, reset.seq))
        for group in list(self._groups.values()):
            for subscriber in list(group):
                self._tell_hole(subscriber, reset.reason, self._place)
        for subscriber in list(self._ahead):
            if ahead and subscriber.after > reset.seq:
                after = Position(reset.epoch, subscriber.after)
                self._tell_hole(subscriber, reset.reason, after)
            else:
                self._settle(subscriber)
                self._tell_hole(subscriber, reset.reason, self._place)

    async def run(self) -> None:
        """Send heartbeats until cancelled."""
        while True:
            await asyncio.sleep(self._beat_seconds)
            self._beat(self._wheel.turn())

    # -- inside

    def _beat(self, subscribers: list[Subscriber]) -> None:
        place = self._place
        if place is None or not subscribers:
            return
        heartbeat = messages.encode(Heartbeat(place.epoch, place.seq))
        made: dict[Shape, bytes] = {}
        for subscriber in subscribers:
            shape = subscriber.shape
            if shape not in made:
                made[shape] = shape(heartbeat, place)
            elsewhere = subscriber in self._ahead or subscriber in self._parked
            subscriber.beat(b"" if elsewhere else made[shape])

    def _tell_hole(self, subscriber: Subscriber, reason: str, place: Position | None) -> None:
        if place is not None:
            self._metrics.ws_resumes.add(reason)
            subscriber.notice(Reset(place.epoch, place.seq, reason), place, kept=True)

    def _settle(self, subscriber: Subscriber) -> None:
        """Serve a subscriber with its group."""
        self._ahead.discard(subscriber)
        self._groups.setdefault(subscriber.key, set()).add(subscriber)

    def _move(self, position: Position) -> None:
        self._place = position
        self._signal()

    def _signal(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def _send(self, batch: Batch) -> None:
        served = 0
        groups = [(key, list(group)) for key, group in self._groups.items()]
        for subscriber in list(self._ahead):
            self._catch_up(subscriber, batch)
        for key, group in groups:
            chunk = batch.chunk(key)
            if chunk is None:
                continue
            self._metrics.ws_events.add(amount=chunk.events * len(group))
            for subscriber in group:
                subscriber.offer(chunk)
                served += 1
                if served % SLICE == 0:
                    await asyncio.sleep(0)

    def _catch_up(self, subscriber: Subscriber, batch: Batch) -> None:
        chunk = batch.rest(subscriber)
        if chunk is not None:
            subscriber.offer(chunk)
        if self._place is not None and self._place.seq >= subscriber.after:
            self._settle(subscriber)

    def _join(self, subscriber: Subscriber, after: Position | None = None) -> None:
        """Serve a subscriber live from now on; it has been served up to `after`."""
        place = self._place
        self._wheel.add(subscriber)
        if after is not None and place is not None and after.seq > place.seq:
            subscriber.after = after.seq
            self._ahead.add(subscriber)
        else:
            self._settle(subscriber)
        if place is not None and not self._down:
            here = after or place
            subscriber.notice(Heartbeat(here.epoch, here.seq), here)

    async def _latest(self, subscriber: Subscriber, count: int) -> None:
        try:
            held = await self._log.span()
        except LogDown:
            self._join(subscriber)
            return
        after = Position(held.epoch, max(held.first - 1, held.last - count))
        await self._resume(subscriber, after)

    async def _resume(self, subscriber: Subscriber, after: Position) -> None:
        """Serve from the log what came after a place, then join."""
        result = "ok"
        while not subscriber.ended:
            if self._down:
                await self._sit_out(subscriber)
                self._tell_hole(subscriber, "outage", after)
            if after == self._place:
                break
            found = await self._read(subscriber, after)
            if isinstance(found, Reset):
                result = found.reason
                after = Position(found.epoch, found.seq)
                subscriber.notice(found, after, kept=True)
            elif found is not None:
                await self._replay(subscriber, found)
                after = found.end
            if not await self._reached(subscriber, after.epoch):
                continue
            if found is not None and self._caught_up(after, found):
                break
        self._metrics.ws_resumes.add(result)
        self._join(subscriber, after)

    async def _sit_out(self, subscriber: Subscriber) -> None:
        """Tell a subscriber what has no place until the log is back."""
        self._parked.add(subscriber)
        self._wheel.add(subscriber)
        try:
            while self._down:
                await self._moved.wait()
        finally:
            self._parked.discard(subscriber)

    def _caught_up(self, after: Position, found: Page | Reset) -> bool:
        """Return whether the log had no more, and the hub comes to this place by itself."""
        whole = isinstance(found, Reset) or len(found.payloads) < PAGE
        return whole and self._place is not None and after.seq >= self._place.seq

    async def _read(self, subscriber: Subscriber, after: Position) -> Page | Reset | None:
        """Return what the log has after a place, None if it is worth another try."""
        until = self._clock() + self.patience_seconds
        while self._clock() < until:
            try:
                return await self._log.page(after)
            except LogDown:
                await asyncio.sleep(RETRY_SECONDS)
                if self._down:
                    return None
        subscriber.end(GIVEN_UP, "the log of events does not answer")
        return None

    async def _reached(self, subscriber: Subscriber, epoch: str) -> bool:
        """Wait until the hub is in an epoch or down; return whether it is in it."""
        try:
            async with asyncio.timeout(self.patience_seconds):
                while not self._down and self._place is not None and self._place.epoch != epoch:
                    await self._moved.wait()
        except TimeoutError:
            subscriber.end(GIVEN_UP, "the log of events does not answer")
        return self._place is not None and self._place.epoch == epoch

    async def _replay(self, subscriber: Subscriber, page: Page) -> None:
        """Send a page when the subscriber reads, however slowly; end it if it does not."""
        chunk = Batch(page.payloads, page.epoch, page.first).chunk(subscriber.key)
        try:
            async with asyncio.timeout(self.stall_seconds):
                while not subscriber.clear:
                    await subscriber.sink.drained()
        except TimeoutError:
            subscriber.end(TOO_SLOW, "too slow")
        if chunk is not None:
            self._metrics.ws_events.add(amount=chunk.events)
            subscriber.offer(chunk)
