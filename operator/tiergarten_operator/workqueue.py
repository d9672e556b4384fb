"""The queue between events and reconciles: keys once each, one worker a key, back-off on failure.

A key that is added while it is worked on is worked on once more afterwards, so no change is missed.
Errors end here: whatever a reconcile raises, its key comes back, later and later.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a key that failed waits.

    Attributes:
        first_seconds: After the first failure; doubled with each more.
        most_seconds: Never longer than this.
    """

    first_seconds: float = 1.0
    most_seconds: float = 300.0

    def after(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row."""
        return float(min(self.first_seconds * 2 ** min(failures - 1, 32), self.most_seconds))


@dataclass(frozen=True, slots=True)
class Failure:
    """A reconcile that failed.

    Attributes:
        error: What it raised.
        failures: How many times in a row.
        again_seconds: When the key comes back.
    """

    error: Exception
    failures: int
    again_seconds: float


@dataclass
class Entry:
    """What the queue knows of a key."""

    queued: bool = False
    running: bool = False
    again: bool = False
    failures: int = 0
    due: float | None = None


@dataclass
class WorkQueue(Generic[K]):
    """Keys that wait for a worker.

    Attributes:
        clock: Seconds of a monotonic clock.
        sleep: Waits for seconds.
        jitter: A factor for each wait, so that keys that failed together do not come together.
        backoff: How long a key that failed waits.
    """

    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[], float] = lambda: 1.0
    backoff: Backoff = field(default_factory=Backoff)
    _entries: dict[K, Entry] = field(default_factory=dict)
    _ready: asyncio.Queue[K] = field(default_factory=asyncio.Queue)
    _later: list[tuple[float, int, K]] = field(default_factory=list)
    _earlier: asyncio.Event = field(default_factory=asyncio.Event)
    _number: int = 0

    def __len__(self) -> int:
        return self._ready.qsize()

    def add(self, key: K) -> None:
        """Let a key be worked on as soon as a worker is free."""
        entry = self._entries.setdefault(key, Entry())
        entry.due = None
        if entry.running:
            entry.again = True
        elif not entry.queued:
            entry.queued = True
            self._ready.put_nowait(key)

    async def idle(self) -> None:
        """Wait until no key waits for a worker or is worked on; those for later do not count."""
        await self._ready.join()

    def add_after(self, key: K, seconds: float) -> None:
        """Let a key be worked on later; an earlier time that is set already stays."""
        entry = self._entries.setdefault(key, Entry())
        due = self.clock() + seconds
        if entry.queued or (entry.due is not None and entry.due <= due):
            return
        entry.due = due
        self._number += 1
        heapq.heappush(self._later, (due, self._number, key))
        self._earlier.set()

    async def run(
        self,
        work: Callable[[K], Awaitable[float | None]],
        workers: int,
        failed: Callable[[K, Failure], None],
    ) -> None:
        """Work until cancelled.

        Args:
            work: Works on a key; returns after how many seconds to come back, or None.
            workers: How many keys are worked on at a time.
            failed: Told of each failure, before the key is put back.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._wake(), name="workqueue-clock")
            for number in range(workers):
                tasks.create_task(self._worker(work, failed), name=f"workqueue-{number}")

    async def _worker(
        self,
        work: Callable[[K], Awaitable[float | None]],
        failed: Callable[[K, Failure], None],
    ) -> None:
        while True:
            key = await self._ready.get()
            entry = self._entries[key]
            entry.queued, entry.running, entry.due = False, True, None
            try:
                again = await work(key)
            except Exception as error:  # noqa: BLE001 -- the supervisor of reconciles: any failure comes back
                entry.failures += 1
                again = self._wait(error, entry.failures)
                failed(key, Failure(error, entry.failures, again))
            else:
                entry.failures = 0
            finally:
                entry.running = False
            self._done(key, entry, again)
            self._ready.task_done()

    def _done(self, key: K, entry: Entry, again: float | None) -> None:
        if entry.again:
            entry.again = False
            if not entry.failures:
                self.add(key)
                return
        if again is not None:
            self.add_after(key, again)
        elif entry.due is None and not entry.queued:
            del self._entries[key]

    def _wait(self, error: Exception, failures: int) -> float:
        most = self.backoff.most_seconds
        asked = min(getattr(error, "retry_after_seconds", None) or 0.0, most)
        own = min(self.backoff.after(failures), getattr(error, "most_seconds", most))
        return max(asked, own * self.jitter())

    async def _wake(self) -> None:
        """Move keys whose time has come to the workers."""
        while True:
            self._earlier.clear()
            if not self._later:
                await self._earlier.wait()
                continue
            due, _, key = self._later[0]
            if (wait := due - self.clock()) > 0:
                await self._until_earlier(wait)
                continue
            heapq.heappop(self._later)
            entry = self._entries.get(key)
            if entry is not None and entry.due == due:  # else it came another way meanwhile
                self.add(key)

    async def _until_earlier(self, seconds: float) -> None:
        """Wait, or until a key is added that may be due earlier."""
        waits = [
            asyncio.ensure_future(self.sleep(seconds)),
            asyncio.ensure_future(self._earlier.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
