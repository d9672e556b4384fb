"""`/v1/events` over WebSocket and SSE, as clients see it."""

import asyncio
import json
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from redises import eventually
from routing import CHAT, Published, ask, routing, series, tier
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.events.kinds import KINDS
from upstream import AFTER_HEADERS, End, Upstream, always, answer, cut

EVENTS = "/v1/events"
SSE = "/v1/events/sse"
TOKEN = "t0ken-of-the-test"  # noqa: S105 -- of this test alone
SECONDS = 20


def events_of(client: httpx.AsyncClient, asks: str = "", **options: Any) -> connect:
    """Return a WebSocket connection to a router, to be entered."""
    url = str(client.base_url).replace("http", "ws").rstrip("/")
    return connect(f"{url}{EVENTS}{asks}", proxy=None, compression=None, **options)


async def received(ws: Any) -> dict[str, Any]:
    """Return the next message."""
    async with asyncio.timeout(SECONDS):
        found: dict[str, Any] = json.loads(await ws.recv())
        return found


async def until_kind(ws: Any, kind: str) -> list[dict[str, Any]]:
    """Return the messages up to and with one of a kind."""
    found = [await received(ws)]
    while found[-1]["type"] != kind:
        found.append(await received(ws))
    return found


async def closed(ws: Any) -> tuple[int, str]:
    """Return with which code the router closes."""
    with pytest.raises(ConnectionClosed) as caught:  # noqa: PT012 -- what comes before is skipped
        while True:
            await received(ws)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


async def refused(client: httpx.AsyncClient, asks: str = "", **options: Any) -> tuple[int, str]:
    """Return the status and the code with which a handshake is refused."""
    with pytest.raises(InvalidStatus) as caught:
        async with events_of(client, asks, **options):
            pass
    body = json.loads(caught.value.response.body or b"{}")
    return caught.value.response.status_code, body["error"]["code"]


@asynccontextmanager
async def streamed(client: httpx.AsyncClient, asks: str = "", **headers: str) -> Any:
    """Yield the events of an SSE stream, one by one, with their ids."""
    async with client.stream("GET", SSE + asks, headers=headers) as reply:
        assert reply.status_code == 200, await reply.aread()
        lines = reply.aiter_lines()

        async def following() -> tuple[str, dict[str, Any]]:
            ident = ""
            async with asyncio.timeout(SECONDS):
                async for line in lines:
                    name, _, value = line.partition(": ")
                    if name == "id":
                        ident = value
                    elif name == "data":
                        return ident, json.loads(value)
            raise EOFError

        yield following


async def test_a_query_is_told_step_by_step_and_without_what_it_says(router: Any) -> None:
    async with Upstream(always(answer("a secret answer"))) as up:
        client = await router(Snapshot((tier("q2", up.url, api_key="sk-secret"),)))
        headers = {"authorization": "Bearer sk-client", "x-request-id": "mine-1"}
        async with events_of(client, "?query=mine-1") as ws:
            await until_kind(ws, "heartbeat")

            await client.post(CHAT, json=ask("a secret question", stream=True), headers=headers)
            told = await until_kind(ws, "query.completed")

    assert [message["type"] for message in told] == [
        "query.received", "query.routed", "query.attempt", "query.first_token", "cache.bypass",
        "query.completed",
    ]  # fmt: skip
    assert told[-1]["tier"] == "q2"
    assert told[-1]["endpoint"] == "q2-0"
    text = json.dumps(told)
    assert "secret" not in text
    assert "sk-" not in text
    assert "127.0.0.1" not in text


@pytest.mark.parametrize(
    ("script", "kind"),
    [(cut(answer(), AFTER_HEADERS, End.RESET), "query.failed"), (None, "query.cancelled")],
    ids=["failed", "cancelled"],
)
async def test_a_query_that_ends_badly_is_told_with_its_code(
    router: Any, script: Any, kind: str
) -> None:
    hangs = script is None
    behaviour = script or cut(answer(), AFTER_HEADERS, End.HANG)
    async with Upstream(always(behaviour)) as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        async with events_of(client, "?kind=query.") as ws:
            await until_kind(ws, "heartbeat")
            asked = asyncio.create_task(client.post(CHAT, json=ask(stream=True)))
            if hangs:
                await until_kind(ws, "query.attempt")
                asked.cancel()
            told = await until_kind(ws, kind)
            await asyncio.gather(asked, return_exceptions=True)

    if not hangs:
        assert told[-1]["outcome"] == "upstream_error"
        assert [m["result"] for m in told if m["type"] == "query.attempt"][:2] == [
            "asked", "upstream_disconnected",
        ]  # fmt: skip


async def test_tiers_endpoints_and_routers_are_told() -> None:
    source = Published(Snapshot((tier("q2", "http://127.0.0.1:9"),)))
    async with routing(source) as client, events_of(client, "?latest=100") as ws:
        begun = [message["type"] for message in await until_kind(ws, "heartbeat")]
        assert begun[:-1] == [
            "router.started", "tier.added", "endpoint.added", "config.changed", "tier.ready",
        ]  # fmt: skip

        assert source.publish is not None
        source.publish(Snapshot((tier("q4"),)))
        told = await until_kind(ws, "tier.unavailable")
        source.ended.set()
        last = await until_kind(ws, "router.stopping")
        code, _ = await closed(ws)

    assert "tier.removed" in {message["type"] for message in told}
    assert last[-1]["version"]
    assert code == 1012


async def test_sse_goes_on_after_the_last_event_id(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        await client.post(CHAT, json=ask())
        async with streamed(client, "?latest=4&kind=query.") as following:
            first = [await following() for _ in range(3)]
            assert [message["type"] for _, message in first] == [
                "query.attempt", "query.first_token", "query.completed",
            ]  # fmt: skip
            ident, heartbeat = await following()
            assert heartbeat["type"] == "heartbeat"
        back = {"last-event-id": first[0][0]}
        async with streamed(client, "?kind=query.", **back) as following:
            again = [await following() for _ in range(3)]

    assert again[:2] == first[1:]
    assert again[2][0] == ident
    metrics = (await client.get("/metrics")).text
    assert series(metrics, "ws_resumes_total") == {'result="ok"': 2.0}


async def test_sse_ends_with_the_router() -> None:
    source = Published(Snapshot())
    async with routing(source, drain_seconds=20) as client, streamed(client) as following:
        await following()
        source.ended.set()
        begin = perf_counter()
        told = [await following() for _ in range(2)]
        with pytest.raises(EOFError):
            await following()

    assert [message["type"] for _, message in told] == ["router.stopping", "closed"]
    assert told[-1][1]["code"] == 1012
    assert perf_counter() - begin < 10


async def test_an_unknown_epoch_and_a_future_place_are_resets(router: Any) -> None:
    client = await router(Snapshot())
    async with events_of(client) as ws:
        epoch = (await received(ws))["epoch"]

    for asks, reason in ((f"?epoch={epoch}&since=999", "future"), ("?epoch=aa&since=1", "epoch")):
        async with events_of(client, asks) as ws:
            assert (await received(ws))["reason"] == reason


@pytest.mark.parametrize(
    "asks",
    [
        "?kind=nonsense", "?tier=a/b", "?query=%00", "?tier=a&tier=b", "?since=3", "?epoch=aa",
        "?epoch=aa&since=-1", "?epoch=aa&since=1e3", "?epoch=XY&since=1",
        "?epoch=aa&since=" + "9" * 30,
        "?latest=many", "?latest=1&epoch=aa&since=1", "?filter=1", "?" + "&".join(["kind=a"] * 99),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused_with_its_parameter(router: Any, asks: str) -> None:
    client = await router(Snapshot())

    assert await refused(client, asks) == (400, "invalid_request")
    assert (await client.get(SSE + asks)).status_code == 400


async def test_a_last_event_id_that_is_not_ours_is_refused(router: Any) -> None:
    client = await router(Snapshot())

    found = await client.get(SSE, headers={"last-event-id": "17"})

    assert (found.status_code, found.json()["error"]["code"]) == (400, "invalid_request")


async def test_other_paths_and_plain_requests_are_told_where_to_go(router: Any) -> None:
    client = await router(Snapshot())

    url = str(client.base_url).replace("http", "ws")
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url + "/v1/chat/completions", proxy=None):
            pass
    plain = await client.get(EVENTS)

    assert caught.value.response.status_code == 404
    assert (plain.status_code, plain.json()["error"]["code"]) == (426, "upgrade_required")
    assert (await client.post(SSE)).status_code == 405


async def test_the_schema_names_every_kind(router: Any) -> None:
    client = await router(Snapshot())

    document = (await client.get("/v1/events/schema")).json()

    tags = {
        kind["properties"]["type"]["enum"][0]
        for kind in document["$defs"].values()
        if "type" in kind.get("properties", {})
    }
    assert tags >= {*KINDS, "heartbeat", "reset", "lagged", "closed"}


@pytest.mark.parametrize(
    ("message", "code"),
    [(b"\x00", 1003), ("hello", 4400), ("x" * 70_000, 1009)],
    ids=["binary", "text", "long"],
)
async def test_what_a_subscriber_says_closes_it(router: Any, message: Any, code: int) -> None:
    client = await router(Snapshot())
    async with events_of(client, max_size=None) as ws:
        await received(ws)

        await ws.send(message)

        assert (await closed(ws))[0] == code


# -- promise 9 and S10


async def test_promise_9_a_foreign_page_gets_in_nowhere(router: Any) -> None:
    """S10: a foreign Origin is 403, by WebSocket and SSE; listed ones and our own are let in."""
    client = await router(Snapshot(), events_origins="https://a.example, https://b.example/")
    own = f"http://127.0.0.1:{client.base_url.port}"

    for origin in ("https://evil.example", "null", "http://a.example", f"{own}.evil.example"):
        assert await refused(client, origin=origin) == (403, "origin_not_allowed")
        assert (await client.get(SSE, headers={"origin": origin})).status_code == 403
    for origin in ("https://a.example", "https://B.example", own):
        async with events_of(client, origin=origin) as ws:
            await received(ws)
        async with client.stream("GET", SSE, headers={"origin": origin}) as reply:
            assert reply.headers["access-control-allow-origin"] == origin


async def test_promise_9_a_rebound_name_is_not_our_own(router: Any) -> None:
    client = await router(Snapshot())
    port = client.base_url.port

    async with client.stream(
        "GET",
        SSE,
        headers={"host": f"evil.example:{port}", "origin": f"http://evil.example:{port}"},
    ) as reply:
        assert reply.status_code == 403


async def test_promise_9_a_token_is_wanted_at_the_handshake_or_first(router: Any) -> None:
    client = await router(Snapshot(), events_token=TOKEN)

    protocols = ["tiergarten.events", f"tiergarten.token.{TOKEN}"]
    async with events_of(client, subprotocols=protocols) as ws:
        assert ws.subprotocol == "tiergarten.events"
        await received(ws)
    async with events_of(client, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as ws:
        await received(ws)
    async with events_of(client) as ws:
        await ws.send(json.dumps({"token": TOKEN}))
        await received(ws)
    async with streamed(client, authorization=f"Bearer {TOKEN}") as following:
        await following()


async def test_promise_9_a_wrong_token_gets_nothing(router: Any) -> None:
    """S10: no token and a wrong one are 401 or close 4401; nothing was told before."""
    client = await router(Snapshot(), events_token=TOKEN)

    assert await refused(client, subprotocols=["tiergarten.token.wrong"]) == (401, "unauthorized")
    assert (await client.get(SSE)).status_code == 401
    assert (await client.get(SSE, headers={"authorization": "Bearer no"})).status_code == 401
    for said in ('{"token": "wrong"}', '{"token": 3}', "[]", "{", b"\x00"):
        async with events_of(client) as ws:
            await ws.send(said)
            with pytest.raises(ConnectionClosed) as caught:
                await ws.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 4401


@pytest.mark.parametrize("name", ["token", "access_token", "api_key", "Authorization"])
async def test_promise_9_a_token_in_the_query_string_is_refused_and_logged_nowhere(
    router: Any, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    client = await router(Snapshot(), events_token=TOKEN)

    assert await refused(client, f"?{name}={TOKEN}") == (401, "unauthorized")
    found = await client.get(f"{SSE}?{name}={TOKEN}")

    assert found.status_code == 401
    assert TOKEN not in found.text
    captured = capsys.readouterr()
    assert TOKEN not in captured.out + captured.err


async def test_subscribers_are_bounded_and_counted(router: Any) -> None:
    client = await router(Snapshot(), events_connections=1)

    async with events_of(client) as ws:
        await received(ws)
        assert await refused(client) == (429, "saturated")
        assert "ws_connections 1.0" in (await client.get("/metrics")).text

    async def gone() -> bool:
        return "ws_connections 0.0" in (await client.get("/metrics")).text

    await eventually(gone)
