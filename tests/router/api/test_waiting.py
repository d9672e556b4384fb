"""A client that waits long for its first content is kept, and its query may still go elsewhere."""

import asyncio
from typing import Any

from routing import CHAT, ask, in_flight, series, tier
from tiergarten_router.core.snapshot import Snapshot
from transcripts import payloads, said
from upstream import AFTER_HEADERS, BEFORE_BYTE, End, Upstream, always, answer, cut, error, insert

QUICK = 0.2  # seconds until a client is told that it is waited for


async def test_a_stream_begins_with_comments_while_nothing_is_decided(router: Any) -> None:
    held = asyncio.Event()
    async with Upstream([insert(answer(), AFTER_HEADERS, held)]) as up:
        client = await router(Snapshot((tier("q2", up.url),)), commit_seconds=QUICK)
        async with client.stream("POST", CHAT, json=ask(stream=True)) as found:
            lines = found.aiter_lines()
            first = [line for _ in range(4) if (line := await anext(lines))]
            held.set()
            rest = [line async for line in lines]

        assert found.status_code == 200
        assert "x-tiergarten-tier" not in found.headers
        assert found.headers["x-request-id"]
        assert first == [": keep-alive"] * 2
        assert ": x-tiergarten-tier: q2" in rest
        assert said("\n".join(rest)) == "Hello from the upstream."
        assert ": x-tiergarten-tier: q2" in rest
        assert rest[-2] == "data: [DONE]"


async def test_a_query_whose_client_is_told_to_wait_is_still_retried(router: Any) -> None:
    held = asyncio.Event()
    dies = cut(insert(answer(), BEFORE_BYTE, held), BEFORE_BYTE, End.RESET)
    dying = insert(dies, BEFORE_BYTE, held)
    async with Upstream(always(dying)) as faulty, Upstream() as good:
        tiers = (tier("q2", faulty.url), tier("q3", good.url))
        client = await router(Snapshot(tiers), commit_seconds=QUICK)
        async with client.stream("POST", CHAT, json=ask(stream=True)) as found:
            lines = found.aiter_lines()
            assert await anext(lines) == ": keep-alive"
            held.set()
            rest = [line async for line in lines]

        assert said("\n".join(rest)) == "Hello from the upstream."
        assert len(faulty.queries) == len(good.queries) == 1


async def test_a_query_that_fails_after_all_ends_with_an_error_event(router: Any) -> None:
    held = asyncio.Event()
    failing = insert(error(500, "boom", "server_error"), BEFORE_BYTE, held)
    async with Upstream(always(failing)) as up:
        client = await router(Snapshot((tier("q2", up.url),)), commit_seconds=QUICK)
        async with client.stream("POST", CHAT, json=ask(stream=True)) as found:
            lines = found.aiter_lines()
            assert await anext(lines) == ": keep-alive"
            held.set()
            rest = "\n".join([line async for line in lines])

        assert payloads(rest)[-1]["error"]["code"] == "upstream_failed"
        assert "[DONE]" not in rest


async def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind(router: Any) -> None:
    held = asyncio.Event()
    async with Upstream([insert(answer(), BEFORE_BYTE, held)]) as up:
        client = await router(Snapshot((tier("q2", up.url),)), commit_seconds=QUICK)
        async with client.stream("POST", CHAT, json=ask(stream=True)) as found:
            assert await anext(found.aiter_lines()) == ": keep-alive"
        await up.closed_by_client()

        async with asyncio.timeout(5):
            while await in_flight(client):
                pass  # asking takes its time
        requests = series((await client.get("/metrics")).text, "requests_total")
        assert requests['outcome="client_closed",tier="q2"'] == 1
