"""Every way in which an exchange may fail: what it is called, and that it leaves nothing open."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

import pytest

from tiergarten_router.core.assembly import Assembly
from tiergarten_router.errors import (
    AttemptFailed,
    ConnectFailed,
    ContextOverflow,
    FirstTokenTimeout,
    NotReadyYet,
    StreamBroken,
)
from tiergarten_router.upstream import endpoints, stream
from tiergarten_router.upstream.connection import HELD_BYTES
from tiergarten_router.upstream.deadlines import Deadlines
from tiergarten_router.upstream.pool import Pool
from tiergarten_router.upstream.stream import Limits
from upstream import (
    AFTER_HEADERS,
    BEFORE_BYTE,
    Behaviour,
    End,
    Upstream,
    after_content,
    always,
    answer,
    chunk,
    context_overflow,
    cut,
    dribble,
    error,
    huge_header,
    insert,
    loading,
    never,
    not_http,
    page,
    saturated,
)

BODY = b'{"messages":[{"role":"user","content":"hi"}],"stream":true}'
GOOD = answer("a b c")
DONE = after_content(3) + 2  # steps after the finish and [DONE]
FLOOD = chunk((b": " + b"x" * 30_000 + b"\n\n") * 40)
SPOILT = {
    "garbage": chunk(b"data: {oops\n\n"),
    "no field": chunk(b"what is this\n\n"),
    "not UTF-8": chunk(b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n'),
    "bad chunk size": b"zz\r\n",
    "oversize event": chunk(b"data: " + b"x" * (1 << 20) + b"\n\n"),
    "two at once": chunk(b"data: {},{\n\n"),
}


class Rig:
    """A pool over a scripted upstream, and its sweep."""

    def __init__(self, up: Upstream) -> None:
        self.up = up
        self.deadlines = Deadlines()
        self.pool = Pool(up.url, self.deadlines, 0.5)
        self.request = endpoints.request(self.pool.authority, "/v1/chat/completions", BODY, "r", "")

    async def open(
        self,
        assembly: Assembly | None = None,
        *,
        first: float = 9,
        until: float = inf,
        idle: float = 9,
    ) -> stream.Stream:
        now = asyncio.get_running_loop().time()
        limits = Limits(now + first, now + until, idle)
        return await stream.open_stream(self.pool, self.request, limits, assembly)

    async def nothing_is_open(self) -> None:
        await self.up.until(lambda: not self.up.connections and not self.up.open_streams, 1)
        assert len(self.deadlines) == 0


@asynccontextmanager
async def rigged(*script: Behaviour) -> AsyncIterator[Rig]:
    async with Upstream(always(script[0]) if len(script) == 1 else script) as up:
        rig = Rig(up)
        sweep = asyncio.create_task(rig.deadlines.run())
        yield rig
        sweep.cancel()


async def rest(found: stream.Stream, raw: bytearray | None = None) -> bytearray:
    """Return what is left of a stream; what came before a failure is in `raw`."""
    raw = bytearray() if raw is None else raw
    while events := await found.next():
        raw += b"".join(event.raw for event in events)
    return raw


BEFORE_CONTENT: dict[str, tuple[Behaviour, type[AttemptFailed]]] = {
    "RST before a byte": (cut(GOOD, BEFORE_BYTE, End.RESET), ConnectFailed),
    "FIN before a byte": (cut(GOOD, BEFORE_BYTE, End.FIN), ConnectFailed),
    "RST after headers": (cut(GOOD, AFTER_HEADERS, End.RESET), StreamBroken),
    "FIN after headers": (cut(GOOD, AFTER_HEADERS, End.FIN), StreamBroken),
    "FIN after the role": (cut(GOOD, after_content(0), End.FIN), StreamBroken),
    "not HTTP": (not_http(), StreamBroken),
    "a header of 1 MB": (huge_header(), StreamBroken),
    "loading": (loading(), NotReadyYet),
    "429": (saturated(7), NotReadyYet),
    "500": (error(500, "boom", "server_error"), AttemptFailed),
    "overflow": (context_overflow(), ContextOverflow),
    "switching protocols": (page({}, 101), StreamBroken),
} | {name: (insert(GOOD, after_content(0), step), StreamBroken) for name, step in SPOILT.items()}


@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "whole"])
@pytest.mark.parametrize(("fault", "kind"), BEFORE_CONTENT.values(), ids=BEFORE_CONTENT)
async def test_a_fault_before_content_has_its_class_and_leaves_nothing_open(
    fault: Behaviour, kind: type[AttemptFailed], *, whole: bool
) -> None:
    async with rigged(fault) as rig:
        with pytest.raises(AttemptFailed) as failed:
            await rig.open(Assembly() if whole else None)

        assert type(failed.value) is kind
        rig.pool.close()  # an answer that is an error is whole, and its connection good
        await rig.nothing_is_open()


async def test_a_flood_of_events_without_content_is_given_up() -> None:
    async with rigged(insert(GOOD, after_content(0), FLOOD)) as rig:
        with pytest.raises(StreamBroken, match="without content"):
            await rig.open()

        await rig.nothing_is_open()


async def test_a_refusal_tells_when_to_come_back_and_how_long_the_prompt_was() -> None:
    async with rigged(saturated(7), context_overflow(5000, 4096)) as rig:
        with pytest.raises(NotReadyYet) as busy:
            await rig.open()
        with pytest.raises(ContextOverflow) as long:
            await rig.open()

        assert busy.value.retry_after_seconds == 7
        assert (long.value.prompt_tokens, long.value.slot_tokens) == (5000, 4096)


@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "whole"])
@pytest.mark.parametrize(
    "fault",
    [never(), dribble(GOOD, 0.05, 1), insert(GOOD, after_content(0), End.HANG)],
    ids=["never answers", "a byte at a time", "silent after the role"],
)
async def test_no_content_in_time_is_a_first_token_timeout(
    fault: Behaviour, *, whole: bool
) -> None:
    async with rigged(fault) as rig:
        async with asyncio.timeout(1):
            with pytest.raises(FirstTokenTimeout):
                await rig.open(Assembly() if whole else None, first=0.2)

        await rig.nothing_is_open()


AFTER_CONTENT: dict[str, Behaviour] = {
    "RST": cut(GOOD, after_content(2), End.RESET),
    "FIN": cut(GOOD, after_content(2), End.FIN),
    "silence": cut(GOOD, after_content(2), End.HANG),
    "no [DONE]": answer("a b c", done=False),
    "more than one answer": insert(GOOD, after_content(2), b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
} | {name: insert(GOOD, after_content(2), 0.02, step) for name, step in SPOILT.items()}


@pytest.mark.parametrize("fault", AFTER_CONTENT.values(), ids=AFTER_CONTENT)
async def test_a_fault_after_content_breaks_the_stream_and_no_bad_event_gets_out(
    fault: Behaviour,
) -> None:
    async with rigged(fault) as rig:
        with pytest.raises(StreamBroken):
            await rig.open(Assembly(), idle=0.2)
        found, raw = await rig.open(idle=0.2), bytearray()
        with pytest.raises(StreamBroken):
            await rest(found, raw)
        found.close()

        assert b'"a"' in raw or b'"content": "a"' in raw
        assert not any(bad in raw for bad in (b"oops", b"what is", b"\xff", b"xxx"))
        assert b"[DONE]" not in raw
        await rig.nothing_is_open()


@pytest.mark.parametrize("gap", [(), (0.05,)], ids=["at once", "later"])
async def test_an_event_after_the_end_is_dropped_with_its_connection(
    gap: tuple[float, ...],
) -> None:
    late = chunk(b"data: {}\n\n")
    async with rigged(insert(GOOD, DONE, *gap, late)) as rig:
        found = await rig.open()
        raw = await rest(found)
        found.close()

        assert raw.endswith(b"data: [DONE]\n\n")
        await rig.nothing_is_open()


async def test_a_reader_that_does_not_read_holds_the_endpoint_back_and_blames_nobody() -> None:
    piece = "x" * 1000
    async with rigged(answer([piece] * 20_000)) as rig:
        found = await rig.open(idle=0.2)
        connection = found._connection
        assert connection is not None
        await rig.up.until(lambda: len(rig.up.queries) == 1)
        while not connection.paused:  # noqa: ASYNC110 -- nobody is told: the reader is to sleep on
            await asyncio.sleep(0)

        held = sum(len(event.raw) for event in found._intake.ahead)
        assert held < HELD_BYTES + 256 * 1024  # one read of the event loop goes over the mark
        rig.deadlines.sweep(asyncio.get_running_loop().time() + 1)  # the idle time passes

        raw = await rest(found)
        found.close()
        assert raw.count(piece.encode()) == 20_000
        assert raw.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    "fault",
    [never(), cut(GOOD, AFTER_HEADERS, End.HANG), cut(loading(), 1, End.HANG)],
    ids=["before the head", "after the head", "in an error's body"],
)
async def test_a_query_cancelled_before_content_closes_the_endpoint_s_side(
    fault: Behaviour,
) -> None:
    async with rigged(fault) as rig:
        asked = asyncio.create_task(rig.open())
        await rig.up.until(lambda: len(rig.up.queries) == 1)

        asked.cancel()
        await rig.up.closed_by_client(1, timeout=0.1)

        await asyncio.gather(asked, return_exceptions=True)
        assert asked.cancelled()
        await rig.nothing_is_open()


async def test_a_query_cancelled_in_its_wait_for_an_event_closes_the_endpoint_s_side() -> None:
    async with rigged(cut(GOOD, after_content(1), End.HANG)) as rig:
        found = await rig.open()
        await found.next()
        waiting = asyncio.create_task(found.next())
        await asyncio.sleep(0)

        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        found.close()

        await rig.up.closed_by_client(1, timeout=0.1)
        await rig.nothing_is_open()


@pytest.mark.parametrize("turns", range(6))
async def test_a_query_cancelled_while_it_connects_leaves_nothing_open(turns: int) -> None:
    async with rigged(never()) as rig:
        asked = asyncio.create_task(rig.open())
        for _ in range(turns):
            await asyncio.sleep(0)

        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)

        await rig.nothing_is_open()


async def test_an_interim_answer_is_none() -> None:
    async with rigged(insert(page({}), 0, b"HTTP/1.1 100 Continue\r\n\r\n")) as rig:
        request = endpoints.request(rig.pool.authority, "/v1/embeddings", b"{}", "r", "")
        made = await rig.pool.exchange(request, inf, lambda: FirstTokenTimeout("late"))

        assert (made.status, await made.read()) == (200, b"{}")
        made.abort()
