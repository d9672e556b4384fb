"""Finds and keeps answers: memory in front of Redis, and one query at a time for each key.

Redis is never waited for longer than the store's 50 ms, and only by a query whose answer is not in
memory. What it does not answer, or what is no entry of ours, is a miss. Entries are written behind
the query's back.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tiergarten_router.cache.entry import Entry, seal, unseal
from tiergarten_router.cache.memory import Kept, Memory
from tiergarten_router.metrics import Histogram
from tiergarten_router.store.client import Script, Store
from tiergarten_router.store.failures import StoreError

PREFIX: Final = b"tiergarten:cache:1:"
STORED_MAX: Final = 1024 * 1024  # of an entry in Redis: one connection carries all
WRITES_MAX: Final = 64  # under way; what comes then is not written
# One round trip for the value and the milliseconds that it has left; Redis' own clock counts them.
GET: Final = Script(
    "local value = redis.call('GET', KEYS[1])\n"
    "return value and {value, redis.call('PTTL', KEYS[1])}"
)


class Result(StrEnum):
    """What a look-up came to."""

    HIT = "hit"
    MISS = "miss"
    ERROR = "error"  # Redis did not answer, or what it has is none of ours: a miss, counted


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up came to, and the entry of a hit."""

    result: Result
    kept: Kept | None = None


MISS: Final = Found(Result.MISS)
ERROR: Final = Found(Result.ERROR)


class Flight:
    """The one query that is under way for a key; others wait for what it brings.

    Args:
        flights: Those that are under way, by key.
        key: Its key.

    Attributes:
        left: Whether it ended only because its client left.
    """

    def __init__(self, flights: "dict[bytes, Flight]", key: bytes) -> None:
        self.left = False
        self._flights = flights
        self._key = key
        self._landed: asyncio.Future[Kept | None] = asyncio.get_running_loop().create_future()
        flights[key] = self

    def land(self, kept: Kept | None, *, left: bool = False) -> None:
        """End it, with the answer or with none; the second time does nothing.

        Args:
            kept: The answer.
            left: Whether there is none only because its client left.
        """
        if not self._landed.done():
            self.left = left
            self._landed.set_result(kept)
            del self._flights[self._key]

    async def wait(self, seconds: float) -> Kept | None:
        """Return its answer, None if there is none within some seconds."""
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(self._landed)
        except TimeoutError:
            return None


class Answers:
    """The answers that this router may give again.

    Args:
        memory: Those that are here.
        store: Those that routers share, None without Redis.
        secret: The secret of entries.
        clock: Monotonic seconds.
        seconds: Observes how long Redis takes, by operation.

    Attributes:
        memory: Those that are here.
    """

    def __init__(
        self,
        memory: Memory,
        store: Store | None,
        secret: bytes,
        clock: Callable[[], float],
        seconds: Histogram,
    ) -> None:
        self.memory = memory
        self._store = store
        self._secret = secret
        self._clock = clock
        self._seconds = seconds
        self._flights: dict[bytes, Flight] = {}
        self._writes: set[asyncio.Task[None]] = set()

    def here(self, key: bytes) -> Kept | None:
        """Return an entry of this process."""
        return self.memory.get(key, self._clock())

    def flight(self, key: bytes) -> Flight | None:
        """Return the query that is under way for a key."""
        return self._flights.get(key)

    def lead(self, key: bytes) -> Flight:
        """Return a new flight for a key that has none; its leader must land it."""
        return Flight(self._flights, key)

    async def shared(self, key: bytes) -> Found:
        """Return an entry that another router, or this one, has shared."""
        store = self._store
        if store is None:
            return MISS
        began = self._clock()
        try:
            reply = await store.eval(GET, [_name(key)])
        except StoreError:
            return ERROR
        finally:
            self._seconds.observe(self._clock() - began, "get")
        if reply is None:
            return MISS
        kept = self._opened(key, reply)
        if kept is None:
            return ERROR
        self.memory.put(key, kept)
        return Found(Result.HIT, kept)

    def keep(self, key: bytes, entry: Entry) -> Kept:
        """Keep a new entry, and share it."""
        now = self._clock()
        kept = Kept(entry, now, now + entry.ttl_seconds)
        self.memory.put(key, kept)
        store = self._store
        if store is not None and store.up and len(self._writes) < WRITES_MAX:
            write = asyncio.create_task(self._write(store, key, entry), name="cache-write")
            self._writes.add(write)
            write.add_done_callback(self._writes.discard)
        return kept

    async def close(self) -> None:
        """Give up what is not written yet."""
        writes = list(self._writes)
        for write in writes:
            write.cancel()
        await asyncio.gather(*writes, return_exceptions=True)

    async def _write(self, store: Store, key: bytes, entry: Entry) -> None:
        stored = seal(entry, key, self._secret)
        if len(stored) > STORED_MAX:
            return
        began = self._clock()
        try:
            await store.set(_name(key), stored, entry.ttl_seconds)
        except StoreError:
            return  # the next one asks an endpoint again
        finally:
            self._seconds.observe(self._clock() - began, "set")

    def _opened(self, key: bytes, reply: object) -> Kept | None:
        """Return what Redis has under a key, None if it is none of ours."""
        match reply:
            case [bytes() as stored, int() as left] if left > 0:
                entry = unseal(stored, key, self._secret)
                if entry is None:
                    return None
                now, left_seconds = self._clock(), min(left / 1000, entry.ttl_seconds)
                return Kept(entry, now + left_seconds - entry.ttl_seconds, now + left_seconds)
        return None


def _name(key: bytes) -> bytes:
    return PREFIX + key.hex().encode()
