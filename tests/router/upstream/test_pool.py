"""Which connections are kept, and what a stale one costs."""

import asyncio
from typing import NoReturn

import pytest

from tiergarten_router.errors import FirstTokenTimeout, StreamBroken
from tiergarten_router.upstream import endpoints
from tiergarten_router.upstream.connection import Connection
from tiergarten_router.upstream.deadlines import Deadlines
from tiergarten_router.upstream.pool import Pool
from upstream import End, Upstream, always, page


def late() -> FirstTokenTimeout:
    return FirstTokenTimeout("late")


async def ask(pool: Pool) -> Connection:
    request = endpoints.request(pool.authority, "/v1/embeddings", b"{}", "r1", "")
    connection = await pool.exchange(request, float("inf"), late)
    while await connection.read():
        pass
    return connection


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
