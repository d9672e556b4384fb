"""A lane to a Redis Cluster: redis-py's client finds the node of each key.

It costs some three times what a pipeline costs a call, since each call takes a connection of its
own; there are at most 8 to a node, and who finds all taken waits within its 50 ms.
"""

import asyncio
from typing import Any, Final

from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from tiergarten_router.store.address import Address
from tiergarten_router.store.connections import OPEN_SECONDS, tls
from tiergarten_router.store.failures import Refused, Unavailable
from tiergarten_router.store.lane import CALL_SECONDS, LATE_MAX, Word

CONNECTIONS: Final = 8  # to one node
RAW: Final = ("GET", "SET", "EVAL", "EVALSHA", "XADD", "XRANGE")


class Cluster:
    """A lane to a cluster that answers.

    Args:
        client: redis-py's client, initialised; closed with the lane.
        seconds: Longest wait for a reply.
    """

    def __init__(self, client: Any, seconds: float = CALL_SECONDS) -> None:  # noqa: ANN401 -- redis-py's generic client has no plain type
        self.why = ""
        self._client = client
        self._seconds = seconds
        self._late = 0
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._places = asyncio.Semaphore(CONNECTIONS)

    async def execute(self, *words: Word) -> object:
        """Return the reply to a command, as `Lane` says."""
        if self.why:
            raise Unavailable(self.why)
        try:
            async with asyncio.timeout(self._seconds), self._places:
                reply: object = await self._client.execute_command(*words)
        except ResponseError as error:
            self._late = 0
            raise Refused(type(error).__name__) from error
        except (TimeoutError, RedisError, RedisClusterException, OSError) as error:
            self._missed()
            raise Unavailable(f"the cluster did not answer: {type(error).__name__}") from error
        self._late = 0
        return reply

    async def run(self) -> None:
        """Wait until too many calls in a row have failed."""
        await asyncio.shield(self._broken)

    async def close(self) -> None:
        """Close all connections."""
        self.why = self.why or "Redis was left"
        await self._client.aclose()

    def _missed(self) -> None:
        self._late += 1
        if self._late >= LATE_MAX and not self.why:
            self.why = "the cluster is silent"
            self._broken.set_result(None)


async def connect(address: Address, seconds: float = CALL_SECONDS) -> Cluster:
    """Return a lane to the cluster of an address.

    Args:
        address: Where it is.
        seconds: Longest wait for a reply.

    Raises:
        Unavailable: If none of its nodes answers in time.
    """
    client: Any = RedisCluster(
        startup_nodes=[ClusterNode(host, port) for host, port in address.nodes],
        username=address.username or None,
        password=address.password or None,
        max_connections=CONNECTIONS,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=max(seconds, OPEN_SECONDS),
        socket_connect_timeout=OPEN_SECONDS,
        protocol=2,
        ssl=address.tls,
        **tls(address),
    )
    for name in RAW:
        client.set_response_callback(name, _as_it_is)
    try:
        async with asyncio.timeout(2 * OPEN_SECONDS):
            await client.initialize()
            await client.execute_command("PING")
    except BaseException as error:
        await client.aclose()
        if isinstance(error, TimeoutError | RedisError | RedisClusterException | OSError):
            raise Unavailable(f"no node answers: {type(error).__name__}") from error
        raise
    return Cluster(client, seconds)


def _as_it_is(reply: object, **_options: object) -> object:
    return reply
