"""Answers that outlive their client's connection: their events, kept for whoever comes back.

An answer has one writer, the task that reads it from its endpoint, and any number of readers. It is
kept in this process, and where routers share a Redis also there, a stream for each answer, so that
another replica can go on with it. What is kept is what the client would have got, for a short time:
prompts are never kept, and an answer's id is random and is all that it takes to read it.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Final, NamedTuple

import structlog

from tiergarten_router.store.client import Script, Store
from tiergarten_router.store.failures import StoreError

ANSWER_BYTES: Final = 4 << 20  # of one answer; some 15,000 events
TOTAL_BYTES: Final = 64 << 20  # of all that are kept in this process; the oldest go first
KEPT_SECONDS: Final = 900.0  # after the last event
FLUSH_SECONDS: Final = 0.03
TIDY_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.05
SILENT_SECONDS: Final = 45.0  # nothing new of an answer elsewhere: its router is gone
READER_SECONDS: Final = 5
UNKNOWN_SECONDS: Final = 1.0  # a client may come back elsewhere before its answer is in Redis
PASSED_ON_SECONDS: Final = 1.0  # for the last pieces to get to Redis, when the router ends
END: Final = b""  # an answer's last piece; no other is empty

log = structlog.get_logger()

# KEYS: the answer's stream, and the mark of readers elsewhere. ARGV: seconds that it is kept, the
# number of the first piece, and the pieces. What was added before, by a call whose reply was late,
# is left out.
WRITE: Final = Script("""
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local top = 0
if last[1] then top = tonumber(string.match(last[1][1], '^%d+')) end
for index = 3, #ARGV do
  local number = tonumber(ARGV[2]) + index - 3
  if number > top then redis.call('XADD', KEYS[1], number .. '-0', 'e', ARGV[index]) end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
return redis.call('EXISTS', KEYS[2])
""")


class Part(NamedTuple):
    """Pieces that follow each other.

    Attributes:
        pieces: Events as the client gets them.
        ended: Whether nothing comes after them.
    """

    pieces: list[bytes]
    ended: bool


class Kept:
    """One answer in this process.

    Args:
        patience_seconds: How long it is written without a reader.
        clock: Monotonic seconds.

    Attributes:
        id: What it takes to read it.
        pieces: Its events.
        ended: Whether it is whole, or broken for good.
        flushed: How many pieces Redis has.
        written_at: Clock time of the last piece.
    """

    def __init__(self, patience_seconds: float, clock: Callable[[], float]) -> None:
        self.id = secrets.token_hex(16)
        self.pieces: list[bytes] = []
        self.ended = False
        self.flushed = 0
        self.size = 0
        self.written_at = clock()
        self.read_elsewhere_at = float("-inf")
        self._patience = patience_seconds
        self._clock = clock
        self._readers = 0
        self._changed = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    @property
    def overflows(self) -> bool:
        """Whether it is larger than an answer may be."""
        return self.size > ANSWER_BYTES

    def write(self, piece: bytes) -> None:
        """Add an event."""
        self.pieces.append(piece)
        self.size += len(piece)
        self.written_at = self._clock()
        self._signal()

    def finish(self) -> None:
        """Say that nothing follows."""
        self.ended = True
        self._signal()

    async def read(self, after: int) -> AsyncGenerator[Part, None]:
        """Yield what comes after a number of pieces, until the end."""
        self._readers += 1
        try:
            while True:
                ended, pieces = self.ended, self.pieces[after:]
                after += len(pieces)
                if pieces or ended:
                    yield Part(pieces, ended)
                if ended:
                    return
                if after == len(self.pieces) and not self.ended:
                    await self._changed.wait()
        finally:
            self._readers -= 1
            self.watch()

    def belongs_to(self, writer: "asyncio.Task[None]") -> None:
        """Know the writer, to end it when nobody reads for too long."""
        self._writer = writer

    def stop(self) -> None:
        """End the writer."""
        if self._writer is not None:
            self._writer.cancel()

    def _signal(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def watch(self) -> None:
        """End the writer if nobody reads for too long; the end of every reading does it."""
        if not self._readers and not self.ended:
            asyncio.get_running_loop().call_later(self._patience, self._lonely)

    def _lonely(self) -> None:
        if self._readers or self.ended:
            return
        if self._clock() - self.read_elsewhere_at < self._patience:
            self.watch()
            return
        self.stop()


class Answers:
    """The answers that are kept here, and where others are found.

    Args:
        store: The Redis that replicas share, or None.
        patience_seconds: How long an answer is written without a reader.
        clock: Monotonic seconds.
    """

    def __init__(
        self, store: Store | None, patience_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._patience = patience_seconds
        self._clock = clock
        self._kept: dict[str, Kept] = {}
        self._writers: set[asyncio.Task[None]] = set()
        self._begun = asyncio.Event()

    def begin(self) -> Kept:
        """Return an answer to be written."""
        kept = Kept(self._patience, self._clock)
        self._kept[kept.id] = kept
        self._begun.set()
        return kept

    def write(self, kept: Kept, writing: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Return the task that writes an answer; it is this object's."""
        task = asyncio.create_task(writing, name=f"answer {kept.id[:8]}")
        kept.belongs_to(task)
        self._writers.add(task)
        task.add_done_callback(self._writers.discard)
        return task

    def forget(self, kept: Kept) -> None:
        """Drop an answer that never began."""
        self._kept.pop(kept.id, None)

    def read(self, ident: str, after: int) -> AsyncGenerator[Part, None]:
        """Yield what comes after a number of pieces of an answer; nothing if it is not known."""
        kept = self._kept.get(ident)
        return kept.read(after) if kept is not None else self._read_elsewhere(ident, after)

    async def run(self) -> None:
        """Pass what is written on to Redis and forget what is old, until cancelled."""
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(
                        FLUSH_SECONDS if self._unflushed() else TIDY_SECONDS
                    ):
                        await self._begun.wait()
                self._begun.clear()
                await asyncio.sleep(FLUSH_SECONDS)
                try:
                    await self._flush()
                except Exception:  # queries must go on whatever happens to what is kept of them
                    log.exception("answers_failed")
                self.tidy()
        finally:
            for task in list(self._writers):
                task.cancel()
            await asyncio.gather(*self._writers, return_exceptions=True)

    async def leave(self, seconds: float) -> None:
        """Let the answers end that may be read elsewhere, and pass them on: the router will stop.

        Args:
            seconds: Longest wait for them; what takes longer is given up.
        """
        if self._store is None:
            return  # nobody can ask for them any more
        if self._writers and seconds > 0:
            await asyncio.wait(self._writers, timeout=seconds)
        for task in list(self._writers):
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PASSED_ON_SECONDS):
                await asyncio.gather(*self._writers, return_exceptions=True)
                while self._unflushed():  # noqa: ASYNC110 -- `run` does it, and tells nobody
                    await asyncio.sleep(FLUSH_SECONDS)

    # -- inside

    def _unflushed(self) -> list[Kept]:
        if self._store is None:
            return []
        return [kept for kept in self._kept.values() if kept.flushed <= len(kept.pieces)]

    async def _flush(self) -> None:
        store = self._store
        if store is None:
            return
        for kept in self._unflushed():
            pieces = kept.pieces[kept.flushed :]
            if kept.ended:
                pieces.append(END)
            if not pieces:
                continue
            first = kept.flushed + 1
            try:
                elsewhere = await store.eval(
                    WRITE, _keys(kept.id), round(KEPT_SECONDS), first, *pieces
                )
            except StoreError:  # it is tried again; readers here lose nothing
                return
            kept.flushed += len(pieces)
            if elsewhere:
                kept.read_elsewhere_at = self._clock()

    def tidy(self) -> None:
        """Forget what is old, and the oldest where there is too much; `run` does it."""
        now = self._clock()
        total = 0
        for kept in reversed(list(self._kept.values())):
            total += kept.size
            old = kept.ended and now - kept.written_at > KEPT_SECONDS
            if old or total > TOTAL_BYTES:
                kept.stop()
                self._kept.pop(kept.id, None)

    async def _read_elsewhere(self, ident: str, after: int) -> AsyncGenerator[Part, None]:
        if self._store is None:
            return
        heard_at = self._clock()
        found = False
        while self._clock() - heard_at < SILENT_SECONDS:
            try:
                pieces, known = await self._fetch(self._store, ident, after)
            except StoreError:
                await asyncio.sleep(POLL_SECONDS)
                continue
            if not known and (found or self._clock() - heard_at > UNKNOWN_SECONDS):
                return
            found = found or known
            if pieces:
                heard_at = self._clock()
                after += len(pieces)
                ended = pieces[-1] == END
                yield Part(pieces[:-1] if ended else pieces, ended)
                if ended:
                    return
            await asyncio.sleep(POLL_SECONDS)
        if found:
            log.warning("answer_abandoned", answer=ident[:8])

    async def _fetch(self, store: Store, ident: str, after: int) -> tuple[list[bytes], bool]:
        """Return the pieces after a number, and whether the answer is known."""
        stream, reader = _keys(ident)
        entries = await store.xrange(stream, f"{after + 1}-0", count=500)
        await store.set(reader, b"1", READER_SECONDS)
        known = bool(entries) or bool(await store.call("EXISTS", stream))
        return [fields.get(b"e", END) for _, fields in entries], known


def _keys(ident: str) -> tuple[bytes, bytes]:
    key = b"tiergarten:{answer:%s}" % ident.encode()
    return key + b":events", key + b":reader"
