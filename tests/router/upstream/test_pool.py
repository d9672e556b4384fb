"""Which connections are kept, and what a stale one costs."""

import asyncio
from collections.abc import Callable
from typing import NoReturn

import pytest
import uvloop

from tiergarten_router.errors import ConnectFailed, FirstTokenTimeout, StreamBroken
from tiergarten_router.upstream import endpoints
from tiergarten_router.upstream.connection import HELD_BYTES, Connection
from tiergarten_router.upstream.deadlines import Deadlines
from tiergarten_router.upstream.pool import Pool
from upstream import End, Upstream, always, page


def late() -> FirstTokenTimeout:
    return FirstTokenTimeout("late")


async def ask(pool: Pool) -> Connection:
    connection = await begin(pool)
    while await connection.read():
        pass
    return connection


async def begin(pool: Pool) -> Connection:
    request = endpoints.request(pool.authority, "/v1/embeddings", b"{}", "r1", "")
    return await pool.exchange(request, float("inf"), late)


async def test_a_connection_is_used_again_where_the_endpoint_keeps_it() -> None:
    async with Upstream(always(page({}))) as up:
        pool = Pool(up.url, Deadlines(), 1.0)

        first = await ask(pool)
        pool.give_back(first)
        second = await ask(pool)

        assert second is first
        assert len(up.connections) == 1
        pool.give_back(second)
        pool.close()
        await up.until(lambda: not up.connections)


async def test_a_stale_connection_costs_one_fresh_try_and_no_query() -> None:
    async with Upstream(always(page({}))) as up:
        pool = Pool(up.url, Deadlines(), 1.0)
        pool.give_back(await ask(pool))
        await up.kill()
        await up.listen()

        again = await ask(pool)

        assert again.status == 200
        assert len(up.queries) == 2
        pool.close()


async def test_a_connection_that_closes_as_it_is_asked_is_replaced_too() -> None:
    def closing(_request: object) -> tuple[End, ...]:
        return (End.FIN,)

    async with Upstream([page({}), closing]) as up:
        pool = Pool(up.url, Deadlines(), 1.0)
        pool.give_back(await ask(pool))

        assert (await ask(pool)).status == 200
        assert len(up.queries) == 3  # the closing one was read by the fake, not answered
        pool.close()


async def test_an_endpoint_that_closes_after_an_answer_is_not_trusted_for_a_while() -> None:
    def closes(request: object) -> tuple[bytes | End, ...]:
        del request
        return (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", End.FIN)

    async with Upstream(always(closes)) as up:
        pool = Pool(up.url, Deadlines(), 1.0)
        first = await ask(pool)
        await up.until(lambda: not up.connections)
        pool.give_back(first)

        second = await ask(pool)
        assert second is not first
        pool.give_back(second)
        third = await ask(pool)
        assert third is not second
        pool.close()


async def changes(connection: Connection) -> NoReturn:
    while True:
        await connection.changed()


async def test_what_is_sent_before_it_is_asked_for_ends_the_connection() -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(Deadlines()), "127.0.0.1", port)
    async with asyncio.timeout(2):
        with pytest.raises(StreamBroken):
            await changes(connection)

    server.close()
    await server.wait_closed()
    assert connection.closed


async def test_an_endpoint_that_kills_every_connection_gets_a_query_twice_at_most() -> None:
    def closing(_request: object) -> tuple[End, ...]:
        return (End.RESET,)

    async with Upstream([page({})] * 3 + [closing] * 9) as up:
        pool = Pool(up.url, Deadlines(), 1.0)
        for kept in [await ask(pool) for _ in range(3)]:  # three at once, all of them kept
            pool.give_back(kept)

        with pytest.raises(ConnectFailed):
            await ask(pool)

        assert len(up.queries) == 3 + 2
        pool.close()
        await up.until(lambda: not up.connections)


async def test_an_endpoint_is_trusted_again_after_a_minute() -> None:
    now = 100.0
    script = [cut_short, page({}), page({}), page({})]
    async with Upstream(script) as up:
        pool = Pool(up.url, Deadlines(), 1.0, lambda: now)
        closed = await ask(pool)
        await up.until(lambda: not up.connections)
        await until_closed(closed)
        pool.give_back(closed)

        now += 59
        second = await ask(pool)
        pool.give_back(second)
        assert second.closed

        now += 1
        third = await ask(pool)
        pool.give_back(third)
        assert await ask(pool) is third
        third.abort()


@pytest.mark.parametrize(("rested", "kept"), [(0.5, False), (30.0, True)])
async def test_only_a_close_right_after_an_answer_costs_an_endpoint_its_trust(
    rested: float, *, kept: bool
) -> None:
    now = 100.0
    async with Upstream(always(page({}))) as up:
        pool = Pool(up.url, Deadlines(), 1.0, lambda: now)
        first = await ask(pool)
        pool.give_back(first)
        now += rested
        await up.kill()
        await up.listen()
        await until_closed(first)

        second = await ask(pool)
        pool.give_back(second)

        assert second.closed is not kept
        pool.close()


async def test_a_connection_given_back_to_a_closed_pool_is_closed() -> None:
    async with Upstream(always(page({}))) as up:
        pool = Pool(up.url, Deadlines(), 1.0)
        taken = await ask(pool)

        pool.close()
        pool.give_back(taken)

        await up.until(lambda: not up.connections)


async def test_a_connection_that_was_paused_reads_again_in_its_next_exchange() -> None:
    body = "x" * (4 * HELD_BYTES)
    async with Upstream(always(page(body))) as up:
        pool = Pool(up.url, Deadlines(), 1.0)
        first = await ask(pool)
        first.pause()
        pool.give_back(first)

        async with asyncio.timeout(2):
            again = await ask(pool)

        assert again is first
        again.abort()


async def test_what_an_endpoint_says_at_rest_is_no_query_s_failure() -> None:
    async with Upstream(always(page({}))) as up:
        pool = Pool(up.url, Deadlines(), 1.0)
        kept = await ask(pool)
        pool.give_back(kept)
        kept.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")  # its loss is not told yet

        fresh = await ask(pool)

        assert (fresh is kept, fresh.status) == (False, 200)
        fresh.abort()
        await up.until(lambda: not up.connections)


async def left_after_failures_to_connect() -> int:
    """Return how many limits are left of connections that were refused or given up on their way."""
    deadlines = Deadlines()
    with pytest.raises(ConnectFailed):
        await ask(Pool("http://127.0.0.1:9", deadlines, 1.0))
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1") as server:
        pool = Pool(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", deadlines, 1.0)
        for turns in range(6):
            asked = asyncio.create_task(ask(pool))
            for _ in range(turns):
                await asyncio.sleep(0)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
    return len(deadlines)


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_a_failure_to_connect_leaves_nothing_to_be_swept(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(left_after_failures_to_connect()) == 0


def cut_short(_request: object) -> tuple[bytes | End, ...]:
    return (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", End.FIN)


async def until_closed(connection: Connection) -> None:
    async with asyncio.timeout(2):
        while not connection.closed:  # noqa: ASYNC110 -- a connection at rest tells its pool only
            await asyncio.sleep(0)
