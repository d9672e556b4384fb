"""One stream, from its opening to its end, and the connection below it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import pytest

from behaviours import Behaviour
from tiergarten_router.core.assembly import Assembly
from tiergarten_router.errors import (
    ConnectFailed,
    DeadlineExceeded,
    FirstTokenTimeout,
    NotReadyYet,
    RouterError,
    StreamBroken,
)
from tiergarten_router.upstream import endpoints, stream
from tiergarten_router.upstream.deadlines import Deadlines
from tiergarten_router.upstream.pool import Pool
from tiergarten_router.upstream.stream import Limits
from upstream import (
    End,
    Upstream,
    after_content,
    always,
    answer,
    chunk,
    cut,
    dribble,
    error,
    insert,
    loading,
    never,
    page,
)

CHAT = "/v1/chat/completions"
BODY = b'{"messages":[{"role":"user","content":"hi"}],"stream":true}'


@asynccontextmanager
async def pooled(up: Upstream | str) -> AsyncIterator[Pool]:
    deadlines = Deadlines()
    sweep = asyncio.create_task(deadlines.run())
    pool = Pool(up if isinstance(up, str) else up.url, deadlines, 0.5)
    try:
        yield pool
    finally:
        pool.close()
        sweep.cancel()


def request(pool: Pool, body: bytes = BODY, path: str = CHAT) -> bytes:
    return endpoints.request(pool.authority, path, body, "r1", "")


def within(seconds: float = inf, until: float = inf, idle: float = 5.0) -> Limits:
    now = asyncio.get_running_loop().time()
    return Limits(now + seconds, now + until, idle)


async def whole(pool: Pool) -> str:
    assembly = Assembly()
    found = await stream.open_stream(pool, request(pool), within(), assembly)
    assert await found.next() == []
    found.close()
    return assembly.text


async def to_the_end(found: stream.Stream) -> None:
    while await found.next():
        pass


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 4096])
async def test_an_answer_is_the_same_however_it_is_cut(size: int) -> None:
    script = always(answer("One € two 😀 three.", sizes=(size,)))
    async with Upstream(script) as up, pooled(up) as pool:
        assert await whole(pool) == "One € two 😀 three."
        found = await stream.open_stream(pool, request(pool), within())
        raw = b""
        while events := await found.next():
            raw += b"".join(event.raw for event in events)
        found.close()

    assert raw.endswith(b"data: [DONE]\n\n")
    assert found.usage is None or found.usage.completion_tokens


async def test_a_slow_answer_arrives_whole() -> None:
    async with Upstream(always(dribble(answer("a b"), 0.0001, 40))) as up, pooled(up) as pool:
        assert await whole(pool) == "a b"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (loading(), NotReadyYet),
        (cut(answer(), 0, End.RESET), ConnectFailed),
        (cut(answer(), 1, End.RESET), StreamBroken),
        (cut(loading(), 1, End.FIN), NotReadyYet),
        (page({}), StreamBroken),
        (answer([], finish=""), StreamBroken),
        (insert(answer(), 1, chunk(b'data: {"error":{"code":503}}\n\n')), NotReadyYet),
        (insert(answer(), 1, chunk(b'data: {"error":{"code":"x"}}\n\n')), StreamBroken),
    ],
    ids=["loading", "reset", "cut", "no body", "no stream", "empty", "503 event", "odd event"],
)
async def test_a_fault_before_content_is_one_kind_of_failure(
    fault: Behaviour, kind: type[RouterError]
) -> None:
    async with Upstream(always(fault)) as up, pooled(up) as pool:
        for assembly in (None, Assembly()):
            with pytest.raises(kind) as raised:
                await stream.open_stream(pool, request(pool), within(), assembly)
            assert type(raised.value) is kind


async def test_nobody_there_is_a_failure_to_connect() -> None:
    async with pooled("http://127.0.0.1:9") as pool:
        with pytest.raises(ConnectFailed):
            await stream.open_stream(pool, request(pool), within())


async def test_an_address_that_answers_nothing_is_given_up() -> None:
    async with pooled("http://192.0.2.1:9") as pool:  # RFC 5737: for documentation only
        with pytest.raises(ConnectFailed):
            await stream.open_stream(pool, request(pool), within())


async def test_first_content_idle_and_total_time_have_limits_of_their_own() -> None:
    script = [never(), never(), cut(answer(), after_content(1), End.HANG)]
    async with Upstream(script) as up, pooled(up) as pool:
        with pytest.raises(FirstTokenTimeout):
            await stream.open_stream(pool, request(pool), within(0.2))
        with pytest.raises(DeadlineExceeded):
            await stream.open_stream(pool, request(pool), within(0.2, until=0.2))
        found = await stream.open_stream(pool, request(pool), within(idle=0.2))
        assert await found.next()
        with pytest.raises(StreamBroken):
            await found.next()
        found.close()


async def test_the_total_time_also_ends_an_answer_that_goes_on() -> None:
    async with Upstream(always(answer("a b c d e f g h", gap=0.1))) as up, pooled(up) as pool:
        found = await stream.open_stream(pool, request(pool), within(until=0.4))
        with pytest.raises(DeadlineExceeded):
            await to_the_end(found)
        found.close()


async def test_an_event_after_the_end_spoils_the_connection_not_the_answer() -> None:
    late = chunk(b"data: {}\n\n")
    tail = after_content(1) + 2  # after content, finish and [DONE]
    async with Upstream(always(insert(answer("a"), tail, 0.05, late))) as up, pooled(up) as pool:
        assert await whole(pool) == "a"


async def test_only_so_much_is_held_for_a_reader_that_does_not_read() -> None:
    piece, pieces = "x" * 10_000, 2_000
    async with Upstream(always(answer([piece] * pieces))) as up, pooled(up) as pool:
        found = await stream.open_stream(pool, request(pool), within())
        await asyncio.sleep(0.3)  # nothing can be awaited: the reader is meant to do nothing
        held = sum(len(event.raw) for event in await found.next())
        assert held < 2 * 64 * 1024 + 256 * 1024  # the mark, and one read of the kernel's buffer
        assert up.open_streams == 1
        total = held
        while events := await found.next():
            total += sum(len(event.raw) for event in events)
        found.close()
        assert total > len(piece) * pieces


async def test_leaving_an_answer_closes_the_endpoint_s_side() -> None:
    endless = cut(answer(), after_content(1), End.HANG)
    async with Upstream(always(endless)) as up, pooled(up) as pool:
        found = await stream.open_stream(pool, request(pool), within())
        found.close()
        await up.closed_by_client(1, timeout=0.1)
        asked = asyncio.create_task(stream.open_stream(pool, request(pool), within()))
        await up.until(lambda: len(up.queries) == 2)
        asked.cancel()


async def test_a_body_is_read_whole_or_not_at_all() -> None:
    path, asked = "/v1/embeddings", b'{"input":"a"}'
    faults = [error(500, "boom", "x"), cut(answer(), 1, End.RESET)]
    async with Upstream([*faults]) as up, pooled(up) as pool:
        for _ in faults:
            with pytest.raises(RouterError):
                await stream.whole_body(pool, request(pool, asked, path), within())

        body = await stream.whole_body(pool, request(pool, asked, path), within())

        assert b"embedding" in body
