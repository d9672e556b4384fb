"""Each scripted behaviour is seen on the wire, by httpx or by a bare socket."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Iterator

import httpx
import pytest

from transcripts import said
from upstream import (
    AFTER_HEADERS,
    BEFORE_BYTE,
    Behaviour,
    End,
    Request,
    Upstream,
    after_content,
    always,
    answer,
    chunk,
    cut,
    dribble,
    huge_header,
    insert,
    loading,
    never,
    not_http,
    page,
    saturated,
)

CHAT = "/v1/chat/completions"
LIMIT_SECONDS = 5


def chat(**fields: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": "one two three"}]} | fields


async def ask(up: Upstream, path: str = CHAT, **fields: object) -> httpx.Response:
    async with httpx.AsyncClient(base_url=up.url) as client:
        return await client.post(path, json=chat(**fields))


async def connect(up: Upstream) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", up.port)
    body = json.dumps(chat(stream=True)).encode()
    writer.write(f"POST {CHAT} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return reader, writer


async def wire(up: Upstream) -> tuple[bytes, End]:
    """Return all bytes of the answer to a streamed query, and what ended it."""
    reader, writer = await connect(up)
    seen = b""
    with contextlib.closing(writer):
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                while part := await reader.read(65536):
                    seen += part
        except ConnectionResetError:
            return seen, End.RESET
    return seen, End.FIN


def text_of(seen: bytes) -> str:
    """Return the payload of what was seen, chunk framing included."""
    return seen.partition(b"\r\n\r\n")[2].decode()


async def test_a_streamed_answer_announces_keep_alive_and_then_the_connection_closes() -> None:
    async with Upstream() as up:
        seen, end = await wire(up)

    assert end is End.FIN
    assert b"Keep-Alive: timeout=5, max=100" in seen.partition(b"\r\n\r\n")[0]
    assert seen.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert said(text_of(seen)) == "Hello from the upstream."


async def test_a_scripted_list_is_followed_by_good_answers() -> None:
    async with Upstream([loading(), saturated()]) as up:
        replies = [await ask(up) for _ in range(3)]

    assert [reply.status_code for reply in replies] == [503, 429, 200]


async def test_whole_answers_keep_the_connection() -> None:
    async with Upstream() as up, httpx.AsyncClient(base_url=up.url) as client:
        replies = [await client.post(CHAT, json=chat()) for _ in range(2)]
        connections = len(up.connections)

    texts = [reply.json()["choices"][0]["message"]["content"] for reply in replies]
    assert texts == ["Hello from the upstream."] * 2
    assert connections == 1


@pytest.mark.parametrize("end", [End.RESET, End.FIN])
@pytest.mark.parametrize("at", [BEFORE_BYTE, AFTER_HEADERS, after_content(2)])
async def test_a_connection_is_reset_or_closed_at_the_point_named(at: int, end: End) -> None:
    async with Upstream([cut(answer("a b c d"), at, end)]) as up:
        seen, ended = await wire(up)

    assert ended is end
    assert bool(seen) == (at >= AFTER_HEADERS)
    assert said(text_of(seen)) == ("a b" if at == after_content(2) else "")
    assert b"0\r\n\r\n" not in seen


@pytest.mark.parametrize("behaviour", [cut(answer(), AFTER_HEADERS, End.FIN), not_http()])
async def test_an_answer_without_body_or_http_is_refused_by_a_client(behaviour: Behaviour) -> None:
    async with Upstream([behaviour]) as up:
        with pytest.raises(httpx.RemoteProtocolError):
            await ask(up)


async def test_a_header_can_be_a_megabyte() -> None:
    async with Upstream([cut(huge_header(), AFTER_HEADERS, End.FIN)]) as up:
        seen, _ = await wire(up)

    assert len(seen.partition(b"\r\n\r\n")[0]) > 1 << 20


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(chunk(b"data: {oops\n\n"), id="garbage"),
        pytest.param(chunk(b"data: \xff\xfe\n\n"), id="invalid-utf8"),
        pytest.param(chunk(b"data: " + b"x" * (1 << 20) + b"\n\n"), id="megabyte-line"),
        pytest.param(chunk(b":\n\n"), id="keep-alive-comment"),
        pytest.param(b"zz\r\n", id="bad-chunk"),
    ],
)
async def test_any_bytes_can_stand_inside_a_stream(extra: bytes) -> None:
    async with Upstream([insert(answer("a b"), after_content(1), extra)]) as up:
        seen, _ = await wire(up)

    before, found, after = seen.partition(extra)
    assert found
    assert said(text_of(before)) == "a"
    assert said(after.decode()) == " b"


@pytest.mark.parametrize(
    ("behaviour", "last"),
    [(never(), b""), (cut(answer("a b"), after_content(1), End.HANG), b'"content":"a"')],
)
async def test_silence_lasts_until_the_client_leaves(behaviour: Behaviour, last: bytes) -> None:
    async with Upstream([behaviour]) as up:
        reader, writer = await connect(up)
        if last:
            await reader.readuntil(last)
        await up.until(lambda: up.open_streams == 1)
        with pytest.raises(TimeoutError):
            await up.closed_by_client(timeout=0.05)
        writer.transport.abort()
        await up.closed_by_client()
        open_streams = up.open_streams

    assert open_streams == 0


async def test_a_client_that_leaves_after_the_end_has_not_left_early() -> None:
    async with Upstream() as up:
        await ask(up, stream=True)
        await ask(up)
        await up.until(lambda: not up.connections)

    assert up.left == 0


async def test_a_slow_loris_sends_its_headers_byte_by_byte() -> None:
    async with Upstream([cut(dribble(answer(), 0.01), 3, End.FIN)]) as up:
        seen, _ = await wire(up)

    assert seen == b"HTT"


async def test_an_answer_is_held_until_it_is_released() -> None:
    release = asyncio.Event()
    async with Upstream([insert(answer("a"), AFTER_HEADERS, release)]) as up:
        reader, writer = await connect(up)
        head = await reader.readuntil(b"\r\n\r\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.read(1)
        release.set()
        rest = await reader.read()
        writer.close()

    assert head.startswith(b"HTTP/1.1 200 OK")
    assert said(rest.decode()) == "a"


async def test_a_client_that_does_not_read_holds_the_upstream_back() -> None:
    taken = itertools.count()
    flood = (chunk(b"x" * 65536) for _ in taken)
    async with Upstream([lambda _: flood]) as up:
        _, writer = await connect(up)
        await up.until(lambda: up.open_streams == 1)
        await asyncio.wait_for(_steady(taken), LIMIT_SECONDS)
        writer.transport.abort()
        await up.closed_by_client()


async def test_a_function_chooses_by_request_and_sees_what_was_sent() -> None:
    def script(request: Request) -> Behaviour:
        return loading() if request.body["model"] == "big" else answer("small")

    async with Upstream(script) as up:
        refused, served = await ask(up, model="big"), await ask(up, model="small")

    assert refused.status_code == 503
    assert served.json()["choices"][0]["message"]["content"] == "small"
    assert [request.body["model"] for request in up.requests] == ["big", "small"]
    assert up.requests[0].method == "POST"
    assert up.requests[0].path == CHAT
    assert up.requests[0].headers["content-type"] == "application/json"
    assert json.loads(up.requests[0].raw) == up.requests[0].body


async def test_the_gauges_tell_what_is_played_and_what_waits_for_a_slot() -> None:
    release = asyncio.Event()
    async with Upstream(always(insert(answer(), BEFORE_BYTE, release)), slots=1) as up:
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(ask(up)) for _ in range(3)]
            await up.until(lambda: up.open_streams == 3)
            gauges = await probe(up, "/metrics")
            release.set()
        idle = await probe(up, "/metrics")

    assert "llamacpp:requests_processing 1\n" in gauges.text
    assert "llamacpp:requests_deferred 2\n" in gauges.text
    assert "llamacpp:requests_processing 0\n" in idle.text
    assert [task.result().status_code for task in asked] == [200] * 3


async def test_probes_are_answered_without_the_script_and_may_be_scripted_themselves() -> None:
    async with Upstream([never()], pages={"/health": loading()}) as up:
        sick = await probe(up, "/health")
        up.pages["/health"] = page({"status": "ok"})
        well = await probe(up, "/health")
        props = await probe(up, "/props")
        unknown = await probe(up, "/api/tags")
        tokens = await ask(up, "/tokenize", content="a b")
        count = await ask(up, "/v1/chat/completions/input_tokens")

    assert (sick.status_code, well.status_code, unknown.status_code) == (503, 200, 404)
    assert props.json()["total_slots"] == up.slots
    assert len(tokens.json()["tokens"]) == 5
    assert count.json()["input_tokens"] == 3
    assert up.requests[0].body is None
    assert up.queries == []


async def test_a_killed_upstream_resets_its_streams_refuses_and_comes_back_on_its_port() -> None:
    async with Upstream(always(cut(answer(), AFTER_HEADERS, End.HANG))) as up:
        reader, writer = await connect(up)
        await reader.readuntil(b"\r\n\r\n")
        await up.kill()
        with pytest.raises(ConnectionResetError):
            await reader.read()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", up.port)
        writer.close()
        port = up.port
        await up.listen()
        health = await probe(up, "/health")

    assert health.status_code == 200
    assert up.port == port
    assert up.left == 0


async def test_an_error_of_a_script_fails_the_test_that_wrote_it() -> None:
    def script(request: Request) -> Behaviour:
        raise LookupError(request.path)

    async def used() -> None:
        async with Upstream(script) as up:
            with pytest.raises(httpx.ReadError):
                await ask(up)

    with pytest.raises(LookupError, match="completions"):
        await used()


async def probe(up: Upstream, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=up.url) as client:
        return await client.get(path)


async def _steady(counter: Iterator[int]) -> None:
    """Wait until the counter has stood still: nothing more is pulled."""
    before = -2
    while (now := next(counter)) != before + 1:
        before = now
        await asyncio.sleep(0.05)
