"""Answers that are resumed: on the same router, on another one, and not by strangers."""

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from redises import RealRedis, eventually
from routing import CHAT, Published, ask, in_flight, routing, tier
from tiergarten_router.core.snapshot import Snapshot
from upstream import AFTER_HEADERS, End, Upstream, after_content, always, answer, cut, insert

RESUME = {"x-tiergarten-resume": "1"}
WORDS = "one two three four five six"


def parsed(lines: list[str]) -> tuple[list[int], list[str]]:
    """Return the numbers and the data of events."""
    numbers = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]
    return numbers, [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


def said(data: list[str]) -> str:
    """Return the text of events."""
    bodies = [json.loads(text) for text in data if text.startswith("{")]
    choices = [choice for body in bodies for choice in body.get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


@asynccontextmanager
async def begun(client: httpx.AsyncClient, held: asyncio.Event) -> Any:
    """Yield an answer's id and the lines that came before it was cut off."""
    async with client.stream("POST", CHAT, json=ask(stream=True), headers=RESUME) as reply:
        assert reply.status_code == 200
        lines = []
        async for line in reply.aiter_lines():
            lines.append(line)
            if "three" in line:
                break
        ident = reply.headers["x-tiergarten-answer"]
    held.set()
    yield ident, lines


async def rest_of(client: httpx.AsyncClient, ident: str, after: int) -> list[str]:
    """Return the lines of the rest of an answer."""
    headers = {"last-event-id": str(after)}
    reply = await client.get(f"/v1/answers/{ident}/stream", headers=headers)
    assert reply.status_code == 200, reply.text
    return reply.text.splitlines()


async def test_an_answer_goes_on_after_its_client_was_cut_off(router: Any) -> None:
    held = asyncio.Event()
    async with Upstream([insert(answer(WORDS), after_content(3), held)]) as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        async with begun(client, held) as (ident, first):
            pass
        numbers, data = parsed(first)

        more, rest = parsed(await rest_of(client, ident, numbers[-1]))
        again, _ = parsed(await rest_of(client, ident, 0))

    assert more[0] == numbers[-1] + 1
    assert again == list(range(1, more[-1] + 1))
    assert said(data + rest) == WORDS
    assert rest[-1] == "[DONE]"


async def test_an_answer_goes_on_on_another_replica_after_its_router_s_client_has_gone(
    tmp_path: Path,
) -> None:
    held = asyncio.Event()
    async with (
        RealRedis(tmp_path) as redis,
        Upstream([insert(answer(WORDS), after_content(3), held)]) as up,
    ):
        snapshot = Snapshot((tier("q2", up.url),))
        shared: dict[str, Any] = {"redis_url": redis.url}
        async with (
            routing(Published(snapshot), **shared) as one,
            routing(Published(snapshot), **shared) as two,
        ):
            async with begun(one, held) as (ident, first):
                numbers, data = parsed(first)
                kept = f"tiergarten:{{answer:{ident}}}:events"

                async def there() -> bool:
                    return bool(await redis.ask("EXISTS", kept))

                await eventually(there)
                more, rest = parsed(await rest_of(two, ident, numbers[-1]))
            lives = await redis.ask("TTL", kept)

    assert more[0] == numbers[-1] + 1
    assert said(data + rest) == WORDS
    assert rest[-1] == "[DONE]"
    assert 0 < lives <= 900


async def test_a_router_that_ends_first_ends_what_is_read_elsewhere(tmp_path: Path) -> None:
    held = asyncio.Event()
    async with (
        RealRedis(tmp_path) as redis,
        Upstream([insert(answer(WORDS), after_content(3), held)]) as up,
    ):
        ending, staying = (Published(Snapshot((tier("q2", up.url),))) for _ in range(2))
        shared: dict[str, Any] = {"redis_url": redis.url, "drain_seconds": 20}
        async with routing(staying, **shared) as two:
            async with routing(ending, **shared) as one:
                async with one.stream("POST", CHAT, json=ask(stream=True), headers=RESUME) as reply:
                    ident = reply.headers["x-tiergarten-answer"]
                ending.ended.set()
                reading = asyncio.create_task(rest_of(two, ident, 0))  # at once: not in Redis yet
                await eventually(lambda: refuses(one))
                held.set()
            numbers, data = parsed(await reading)

    assert numbers == list(range(1, len(numbers) + 1))
    assert said(data) == WORDS
    assert data[-1] == "[DONE]"


async def test_a_router_that_ends_gives_up_what_takes_too_long(tmp_path: Path) -> None:
    async with (
        RealRedis(tmp_path) as redis,
        Upstream(always(cut(answer(WORDS), after_content(3), End.HANG))) as up,
    ):
        ending, staying = (Published(Snapshot((tier("q2", up.url),))) for _ in range(2))
        shared: dict[str, Any] = {"redis_url": redis.url, "drain_seconds": 0.5}
        async with routing(staying, **shared) as two:
            async with (
                routing(ending, **shared) as one,
                one.stream("POST", CHAT, json=ask(stream=True), headers=RESUME) as reply,
            ):
                ident = reply.headers["x-tiergarten-answer"]
            _, data = parsed(await rest_of(two, ident, 0))

    assert json.loads(data[-1])["error"]["code"] == "upstream_disconnected"


async def refuses(client: httpx.AsyncClient) -> bool:
    """Return whether a router takes no new connections any more."""
    async with httpx.AsyncClient(base_url=client.base_url, trust_env=False) as other:
        try:
            await other.get("/healthz")
        except httpx.TransportError:
            return True
    return False


async def test_an_answer_of_api_query_is_resumed_with_its_facts(router: Any) -> None:
    async with Upstream(always(answer(WORDS))) as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        body = {"query": "x", "stream": True}
        reply = await client.post("/api/query", json=body, headers=RESUME)
        _, again = parsed(await rest_of(client, reply.headers["x-tiergarten-answer"], 0))

    assert again[-1] == "[DONE]"
    assert json.loads(again[-2])["model_tier"] == "q2"
    assert parsed(reply.text.splitlines())[1] == again


async def test_a_reader_that_leaves_is_no_trouble(router: Any) -> None:
    held = asyncio.Event()
    async with Upstream([insert(answer(WORDS), after_content(3), held)]) as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        async with client.stream("POST", CHAT, json=ask(stream=True), headers=RESUME) as reply:
            ident = reply.headers["x-tiergarten-answer"]
            async with client.stream("GET", f"/v1/answers/{ident}/stream") as second:
                assert second.status_code == 200
            held.set()
            text = "".join([part async for part in reply.aiter_text()])

    assert text.endswith("data: [DONE]\n\n")


async def test_without_the_header_a_client_that_leaves_ends_its_answer(router: Any) -> None:
    async with Upstream(always(cut(answer(WORDS), after_content(2), End.HANG))) as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        async with client.stream("POST", CHAT, json=ask(stream=True)) as reply:
            assert "x-tiergarten-answer" not in reply.headers

        await up.closed_by_client()


async def test_an_answer_that_nobody_reads_is_given_up(router: Any) -> None:
    async with Upstream(always(cut(answer(WORDS), after_content(3), End.HANG))) as up:
        client = await router(Snapshot((tier("q2", up.url),)), resume_seconds=0.2)
        async with begun(client, asyncio.Event()) as (ident, first):
            pass
        await up.closed_by_client(timeout=10)

        async def idle() -> bool:
            return await in_flight(client) == 0

        await eventually(idle)
        _, rest = parsed(await rest_of(client, ident, parsed(first)[0][-1]))

    assert json.loads(rest[-1])["error"]["code"] == "upstream_disconnected"


async def test_an_answer_that_breaks_ends_with_an_error_for_every_reader(router: Any) -> None:
    async with Upstream(always(cut(answer(WORDS), after_content(3), End.RESET))) as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        reply = await client.post(CHAT, json=ask(stream=True), headers=RESUME)
        _, data = parsed(await rest_of(client, reply.headers["x-tiergarten-answer"], 0))

    assert json.loads(data[-1])["error"]["code"] == "upstream_disconnected"
    assert parsed(reply.text.splitlines())[1] == data


async def test_a_client_that_leaves_while_it_is_told_to_wait_gets_its_answer_later(
    router: Any,
) -> None:
    held = asyncio.Event()
    async with Upstream([insert(answer(WORDS), AFTER_HEADERS, held)]) as up:
        client = await router(Snapshot((tier("q2", up.url),)), commit_seconds=0.2)
        async with client.stream("POST", CHAT, json=ask(stream=True), headers=RESUME) as reply:
            assert await anext(reply.aiter_lines()) == ": keep-alive"
        held.set()

        numbers, data = parsed(await rest_of(client, reply.headers["x-tiergarten-answer"], 0))

    assert numbers[0] == 1
    assert said(data) == WORDS


async def test_an_answer_that_fails_while_its_client_waits_is_an_error_for_whoever_comes_back(
    router: Any,
) -> None:
    held = asyncio.Event()
    dying = insert(cut(answer(), AFTER_HEADERS, End.RESET), AFTER_HEADERS, held)
    async with Upstream(always(dying)) as up:
        client = await router(Snapshot((tier("q2", up.url),)), commit_seconds=0.2)
        async with client.stream("POST", CHAT, json=ask(stream=True), headers=RESUME) as reply:
            lines = reply.aiter_lines()
            assert await anext(lines) == ": keep-alive"
            held.set()
            _, data = parsed([line async for line in lines])

        _, again = parsed(await rest_of(client, reply.headers["x-tiergarten-answer"], 0))

    assert "error" in json.loads(data[-1])
    assert again == data


async def test_an_answer_of_the_cache_can_be_resumed_too(router: Any) -> None:
    asked = ask(stream=True, temperature=0)
    async with Upstream([answer(WORDS)]) as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        await client.post(CHAT, json=asked)

        found = await client.post(CHAT, json=asked, headers=RESUME)
        lines = await rest_of(client, found.headers["x-tiergarten-answer"], 0)

    assert found.headers["x-tiergarten-cache"] == "hit"
    assert said(parsed(lines)[1]) == WORDS
    assert lines == found.text.splitlines()


async def test_an_answer_that_cannot_begin_is_an_error_as_ever(router: Any) -> None:
    client = await router(Snapshot((tier("q2"),)))

    reply = await client.post(CHAT, json=ask(stream=True), headers=RESUME)

    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "no_ready_tier")


async def test_a_client_that_leaves_before_the_beginning_ends_it(router: Any) -> None:
    async with Upstream(always(cut(answer(WORDS), AFTER_HEADERS, End.HANG))) as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        asked = asyncio.create_task(client.post(CHAT, json=ask(stream=True), headers=RESUME))
        await up.until(lambda: len(up.queries) == 1)
        asked.cancel()

        await up.closed_by_client()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/answers/" + "0" * 32 + "/stream", {}, 404),
        ("/v1/answers/../stream", {}, 404),
        ("/v1/answers/" + "0" * 32, {}, 404),
        ("/v1/answers/" + "0" * 32 + "/stream", {"last-event-id": "x"}, 400),
    ],
)
async def test_what_is_not_there_is_told(
    router: Any, path: str, headers: dict[str, str], status: int
) -> None:
    client = await router(Snapshot())

    assert (await client.get(path, headers=headers)).status_code == status
    assert (await client.post("/v1/answers/" + "0" * 32 + "/stream")).status_code == 405
