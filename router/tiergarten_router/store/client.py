"""Redis for the router: every call is answered within 50 ms, by Redis or by "it is not there".

One connection is kept by a task of its own, so that no query ever waits for a connection. While
there is none, which is the open state of the breaker, every call fails at once; the task probes
until a server answers again. Calls are never repeated: who called knows whether it matters.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha1
from typing import Any, Final

import structlog

from tiergarten_router.store import cluster, connections
from tiergarten_router.store.address import Address, Kind
from tiergarten_router.store.failures import Refused, StoreError, Unavailable
from tiergarten_router.store.lane import CALL_SECONDS, Lane, Pipeline, Word

PAUSE_SECONDS: Final = 0.25  # between two probes, plus as much again by chance
STEADY_SECONDS: Final = 1.0  # a connection that held so long is opened again without a pause

log = structlog.get_logger()
Entry = tuple[bytes, dict[bytes, bytes]]
"""An entry of a stream: its id, and its fields."""


class State(IntEnum):
    """What the breaker does with calls; the numbers are those of the metric."""

    CLOSED = 0  # lets them through
    HALF_OPEN = 1  # refuses them while a connection is tried
    OPEN = 2  # refuses them


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, sent by its digest and whole only when Redis does not know it."""

    source: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)


class Store:
    """A Redis that may be slow, frozen or gone; `run` keeps the connection.

    Args:
        address: Where it is.
        draw: A random number from 0 to 1, so that replicas do not all probe at the same moment.
        call_seconds: Longest wait for a reply.

    Attributes:
        state: The breaker's.
        why: Why it is not closed, for people; empty while it is.
        tried: Whether the first connection has come about, or failed.
        listeners: Told True when Redis is back and False when it is lost.
    """

    def __init__(
        self,
        address: Address,
        draw: Callable[[], float] = random.random,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self.state = State.OPEN
        self.why = "no connection yet"
        self.tried = False
        self.listeners: list[Callable[[bool], None]] = []
        self._address = address
        self._draw = draw
        self._call_seconds = call_seconds
        self._lane: Lane | None = None

    @property
    def up(self) -> bool:
        """Whether calls reach Redis."""
        return self._lane is not None

    async def run(self) -> None:
        """Keep a connection until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._hold()
            except StoreError as error:
                self._lost(str(error))
            except Exception as error:  # whatever it is: without Redis the router goes on
                log.exception("redis_failed")
                self._lost(f"the connection failed: {type(error).__name__}")
            if loop.time() - began < STEADY_SECONDS:
                await asyncio.sleep(PAUSE_SECONDS * (1 + self._draw()))

    # -- calls

    async def call(self, *words: Word) -> object:
        """Return the reply to any command that does not block.

        Args:
            words: The command and its arguments.

        Returns:
            Redis' own reply: bytes, int, None, or a list of them.

        Raises:
            Refused: If Redis replied with an error.
            Unavailable: If there is no reply within 50 ms; at once while Redis is known to be away.
        """
        lane = self._lane
        if lane is None:
            raise Unavailable(self.why)
        return await lane.execute(*words)

    async def get(self, key: bytes) -> bytes | None:
        """Return a key's value, None when there is none.

        Raises:
            StoreError: As `call`.
        """
        value = await self.call("GET", key)
        return value if isinstance(value, bytes) else None

    async def set(self, key: bytes, value: bytes, ttl_seconds: float) -> None:
        """Set a key's value for a time, at least a millisecond.

        Raises:
            StoreError: As `call`.
        """
        await self.call("SET", key, value, "PX", max(1, round(1000 * ttl_seconds)))

    async def eval(self, script: Script, keys: Sequence[bytes], *words: Word) -> object:
        """Return what a script returns.

        Args:
            script: The script.
            keys: The keys that it touches, all of one slot in a cluster.
            words: Its other arguments.

        Raises:
            StoreError: As `call`.
        """
        try:
            return await self.call("EVALSHA", script.digest, len(keys), *keys, *words)
        except Refused as error:
            if error.kind != "NoScriptError":
                raise
        return await self.call("EVAL", script.source, len(keys), *keys, *words)

    async def xrange(
        self, key: bytes, first: str = "-", last: str = "+", count: int = 1000
    ) -> list[Entry]:
        """Return entries of a stream, oldest first.

        Args:
            key: The stream's key.
            first: The first id; `(` before it leaves it out.
            last: The last id.
            count: At most so many.

        Raises:
            StoreError: As `call`.
        """
        return entries(await self.call("XRANGE", key, first, last, "COUNT", count))

    # -- inside

    async def _hold(self) -> None:
        """Open a connection and wait until it breaks.

        Raises:
            StoreError: When it cannot be opened.
        """
        self.state = State.HALF_OPEN
        lane = await _lane(self._address, self._call_seconds)
        try:
            self._lane, self.state, self.why = lane, State.CLOSED, ""
            self.tried = True
            log.info("redis_up")
            self._tell(up=True)
            await lane.run()
            self._lost(lane.why)
        finally:
            self._lane, self.state = None, State.OPEN
            self._tell(up=False)
            await lane.close()

    def _lost(self, why: str) -> None:
        self.state, self.tried = State.OPEN, True
        if why != self.why:
            log.warning("redis_down", reason=why)
        self.why = why

    def _tell(self, *, up: bool) -> None:
        for listener in self.listeners:
            listener(up)


def entries(reply: Any) -> list[Entry]:  # noqa: ANN401 -- a reply is what Redis says
    """Return the entries of Redis' own reply.

    Raises:
        Unavailable: If they are no entries of a stream.
    """
    try:
        return [(ident, dict(zip(words[::2], words[1::2], strict=True))) for ident, words in reply]
    except (TypeError, ValueError) as error:
        raise Unavailable("the reply is none of a stream") from error


async def _lane(address: Address, seconds: float) -> Lane:
    if address.kind is Kind.CLUSTER:
        return await cluster.connect(address, seconds)
    return Pipeline(await connections.connect(address), seconds)
