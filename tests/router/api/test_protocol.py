"""The edge as a hostile client meets it: what is refused, what it costs, and what stays intact."""

import asyncio
import contextlib
import json
from typing import Any

import pytest

from rawhttp import BODY, GOOD, HOST, POST, SIZED, statuses, told
from routing import CHAT, ask, in_flight, series, tier
from tiergarten_router.core.snapshot import Snapshot
from upstream import End, Upstream, after_content, always, answer, cut

CHUNKED = HOST + b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


REFUSED: dict[str, tuple[bytes, int]] = {
    "CL and TE": (POST + SIZED + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS + GOOD, 400),
    "TE and CL": (POST + CHUNKED + b"Content-Length: 4\r\n\r\n" + CHUNKS + GOOD, 400),
    "two lengths": (POST + SIZED + b"Content-Length: 3\r\n\r\n" + BODY, 400),
    "two hosts": (POST + HOST + SIZED + b"\r\n" + BODY, 400),
    "no host": (POST + SIZED.removeprefix(HOST) + b"\r\n" + BODY, 400),
    "a host that is a path": (GOOD.replace(b"Host: x", b"Host: a/public?x="), 400),
    "bare line feeds": (GOOD.replace(b"\r\n", b"\n"), 400),
    "a folded header": (POST + SIZED + b"X-A: b\r\n c\r\n\r\n" + BODY, 400),
    "h2c": (POST + CHUNKED + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" + CHUNKS, 400),
    "h2c without Connection": (POST + SIZED + b"Upgrade: h2c\r\n\r\n" + BODY, 400),
    "CONNECT": (b"CONNECT x:80 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "xchunked": (POST + HOST + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKS, 400),
    "chunked, identity": (POST + HOST + b"Transfer-Encoding: chunked, identity\r\n\r\n", 400),
    "a signed length": (POST + HOST + b"Content-Length: +4\r\n\r\n{}{}", 400),
    "NUL in a header": (POST + SIZED + b"X-A: b\0c\r\n\r\n" + BODY, 400),
    "a space before the colon": (POST + SIZED + b"X-A : b\r\n\r\n" + BODY, 400),
    "a chunk without its end": (POST + CHUNKED + b"\r\n2\r\n{}0\r\n\r\n", 400),
    "a chunk size with 0x": (POST + CHUNKED + b"\r\n0x2\r\n{}\r\n0\r\n\r\n", 400),
    "a header of 1 MB": (POST + SIZED + b"X-A: " + b"a" * (1 << 20) + b"\r\n\r\n" + BODY, 431),
    "5,000 headers": (POST + SIZED + b"".join(b"a%d: b\r\n" % i for i in range(5000)), 431),
    "101 headers": (POST + SIZED + b"a: b\r\n" * 100 + b"\r\n" + BODY, 431),
    "a target of 40 KB": (b"POST /" + b"a" * 40_000 + b" HTTP/1.1\r\n" + SIZED + b"\r\n", 431),
    "a length of 1 TB": (POST + HOST + b"Content-Length: 1099511627776\r\n\r\n", 413),
    "a length without end": (POST + HOST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", 400),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a target that is none": (b"POST http:///:x HTTP/1.1\r\n" + SIZED + b"\r\n" + BODY, 400),
    "a late header of 3 MB": (
        POST + CHUNKED + b"\r\n2\r\n{}\r\n0\r\nX-A: " + b"a" * (3 << 20),
        413,
    ),
}


@pytest.mark.parametrize(("sent", "status"), REFUSED.values(), ids=REFUSED)
async def test_what_means_two_things_is_refused_and_nothing_is_asked(
    router: Any, sent: bytes, status: int
) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)), body_bytes=1 << 20)

        raw = await told(client, sent)

        if raw:  # who sends a megabyte may be cut off before it reads
            assert statuses(raw) == [status]  # and not an answer to what stands behind it
            head, _, body = raw.partition(b"\r\n\r\n")
            assert b"connection: close" in head
            assert set(json.loads(body)["error"]) == {"message", "type", "code", "param"}
        assert len(sent) > 1 << 20 or raw
        assert not up.queries
        counted = series((await client.get("/metrics")).text, "refused_requests_total")
        assert sum(counted.values()) == 1


async def test_what_is_fine_is_answered_over_one_connection_in_order(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        cold = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        chunked = POST + CHUNKED + b"\r\n" + CHUNKS
        absolute = GOOD.replace(b"POST /", b"POST http://x/")
        last = cold.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

        raw = await told(client, GOOD + cold + chunked, absolute + GOOD + last, pause=0.01)

        assert statuses(raw) == [200] * 6
        assert raw.count(b"Hello from the upstream.") == 4
        assert len(up.queries) == 4


async def test_a_pipelined_request_that_is_malformed_ends_all_that_is_asked(router: Any) -> None:
    endless = cut(answer(), after_content(1), End.HANG)
    async with Upstream(always(endless)) as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(GOOD)
        await up.until(lambda: len(up.queries) == 1)

        writer.write(b"nonsense\r\n\r\n")

        await up.closed_by_client(1)
        with contextlib.suppress(ConnectionError):
            assert b"200 OK" not in await reader.read()
        writer.close()
        assert len(up.queries) == 1


async def test_many_requests_at_once_are_answered_one_after_the_other(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        last = GOOD.replace(HOST, HOST + b"Connection: close\r\n")

        raw = await told(client, GOOD * 9 + last)

        assert statuses(raw) == [200] * 10
        assert len(up.queries) == 10


async def test_a_large_body_and_the_next_head_may_share_a_packet(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url, slot_tokens=1 << 20),)))
        body = json.dumps(ask("x" * 100_000, max_tokens=3)).encode()
        large = POST + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body
        last = GOOD.replace(HOST, HOST + b"Connection: close\r\n")

        raw = await told(client, large + last[:9], last[9:], pause=0.1)

        assert statuses(raw) == [200, 200]


async def test_a_client_that_leaves_ends_what_it_pipelined_too(router: Any) -> None:
    endless = cut(answer(), after_content(1), End.HANG)
    async with Upstream(always(endless)) as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        _, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(GOOD + GOOD)
        await up.until(lambda: len(up.queries) == 1)

        writer.close()

        await up.closed_by_client(1)
        assert len(up.queries) == 1
        assert await in_flight(client) == 0


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_after_a_400_the_connection_is_closed_and_after_others_kept(
    router: Any, status: int
) -> None:
    client = await router(Snapshot())
    bad = {400: b"{", 404: BODY, 405: BODY}[status]
    method = b"PUT" if status == 405 else b"POST"
    once = GOOD.replace(BODY, bad).replace(b"POST", method)
    once = once.replace(b"%d\r\n" % len(BODY), b"%d\r\n" % len(bad))

    raw = await told(client, once, b"GET /healthz HTTP/1.0\r\n\r\n", pause=0.05)

    assert statuses(raw) == ([400] if status == 400 else [status, 200])


async def test_a_client_may_ask_before_it_sends_its_body(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)), body_bytes=2000)
        asks = b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
        large = POST + HOST + b"Content-Length: 2001\r\n" + asks

        taken = await told(client, POST + SIZED + asks, BODY, pause=0.05)
        cold = await told(client, b"POST /nowhere HTTP/1.1\r\n" + SIZED + asks, BODY, pause=0.05)

        assert statuses(taken) == [100, 200]
        assert statuses(cold)[-1] in {404, 405}
        assert statuses(await told(client, large)) == [413]


async def test_an_old_client_gets_an_answer_without_chunks(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        body = json.dumps(ask(stream=True)).encode()
        old = b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)

        raw = await told(client, old + body)

        assert raw.endswith(b"data: [DONE]\n\n")
        assert b"transfer-encoding" not in raw
        assert b"connection: close" in raw


async def test_a_head_alone_is_what_head_asks_for(router: Any) -> None:
    client = await router(Snapshot())

    found = await client.head(CHAT)

    assert found.status_code == 405
    assert not found.content


async def test_only_trusted_proxies_say_who_asks_and_how(router: Any) -> None:
    forwarded = {"x-forwarded-for": "1.2.3.4", "x-forwarded-proto": "https"}
    for trusted, scheme in (("", "http"), ("10.0.0.0/8", "http"), ("127.0.0.0/8", "https")):
        client = await router(Snapshot(), trusted_proxies=trusted)

        found = await client.get("/readyz/", headers=forwarded)

        assert found.status_code == 307
        assert found.headers["location"].startswith(f"{scheme}://")


async def test_a_websocket_to_no_door_of_that_kind_is_refused(router: Any) -> None:
    client = await router(Snapshot())
    upgrade = b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

    raw = await told(client, b"GET /v1/tiers HTTP/1.1\r\n" + HOST + upgrade + key)

    assert statuses(raw) == [404]
