"""Entries of streams, and a reader of streams that may block: on a connection of its own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from redis.exceptions import RedisError

from tiergarten_router.store import cluster, connections
from tiergarten_router.store.address import Address, Kind
from tiergarten_router.store.failures import Unavailable
from tiergarten_router.store.lane import ask, disconnect

SLACK_SECONDS: Final = 1.0  # for the reply to a blocking read, beyond the time that it blocks
BLOCK_MIN_SECONDS: Final = 0.001  # 0 would block for ever
BLOCK_MAX_SECONDS: Final = 60.0

Entry = tuple[bytes, dict[bytes, bytes]]
"""An entry of a stream: its id, and its fields."""


class Follower:
    """Reads streams; after a failure it is of no use any more.

    Args:
        execute: Sends a command and returns the reply.
    """

    def __init__(self, execute: Callable[..., Awaitable[object]]) -> None:
        self._execute = execute

    async def xread(
        self, after: Mapping[bytes, str], block_seconds: float, count: int = 1000
    ) -> dict[bytes, list[Entry]]:
        """Return new entries by stream, none when nothing came in time.

        Args:
            after: The last id that was seen of each stream; all of one slot in a cluster.
            block_seconds: How long to wait for one, 0.001 to 60.
            count: At most so many of each.

        Raises:
            StoreError: If Redis is lost or refuses.
        """
        block = min(max(block_seconds, BLOCK_MIN_SECONDS), BLOCK_MAX_SECONDS)
        words = ("XREAD", "COUNT", count, "BLOCK", round(1000 * block), "STREAMS")
        try:
            async with asyncio.timeout(block + SLACK_SECONDS):
                reply: Any = await self._execute(*words, *after.keys(), *after.values())
        except (TimeoutError, RedisError, OSError) as error:
            raise Unavailable(f"Redis was lost: {type(error).__name__}") from error
        try:
            return {key: entries(found) for key, found in reply or ()}
        except (TypeError, ValueError) as error:
            raise Unavailable("the reply is none of a stream") from error


def entries(reply: Any) -> list[Entry]:  # noqa: ANN401 -- a reply is what Redis says
    """Return the entries of Redis' own reply.

    Raises:
        Unavailable: If they are no entries of a stream.
    """
    try:
        return [(ident, dict(zip(words[::2], words[1::2], strict=True))) for ident, words in reply]
    except (TypeError, ValueError) as error:
        raise Unavailable("the reply is none of a stream") from error


@asynccontextmanager
async def following(address: Address) -> AsyncIterator[Follower]:
    """Yield a follower with a connection of its own.

    Raises:
        Unavailable: If no connection can be had.
    """
    if address.kind is Kind.CLUSTER:
        lane = await cluster.connect(address, BLOCK_MAX_SECONDS + SLACK_SECONDS)
        try:
            yield Follower(lane.execute)
        finally:
            await lane.close()
        return
    link = await connections.connect(address)
    try:
        yield Follower(partial(ask, link))
    finally:
        await disconnect(link)
