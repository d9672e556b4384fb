"""Equal queries at once, and answers that do not become whole."""

import asyncio

import pytest

from caching import SAME, raw, snapshot, wants
from routing import CHAT, ask, in_flight
from upstream import End, Upstream, after_content, always, answer, cut, error


async def test_equal_queries_at_once_ask_one_endpoint_once(router):
    gate = asyncio.Event()

    def held(request):
        return [gate, *answer("once")(request)]

    async with Upstream(always(held)) as up:
        client = await router(snapshot(up))
        bodies = [ask(**SAME, stream=bool(n % 2)) for n in range(8)]
        asking = [asyncio.create_task(client.post(CHAT, json=body)) for body in bodies]
        await up.until(lambda: len(up.queries) == 1)
        gate.set()

        replies = await asyncio.gather(*asking)

        said = [reply.headers["x-tiergarten-cache"] for reply in replies]
        assert sorted(said) == ["hit"] * 7 + ["miss"]
        assert all("once" in reply.text for reply in replies)
        assert len(up.queries) == 1


async def test_when_the_first_one_fails_the_others_ask_for_themselves(router):
    gate = asyncio.Event()

    def fails(request):
        return [gate, *error(400, "no", "invalid_request_error")(request)]

    script = [fails, answer("two"), answer("three")]
    async with Upstream(script) as up:
        client = await router(snapshot(up))
        first = asyncio.create_task(client.post(CHAT, json=ask(**SAME)))
        await up.until(lambda: len(up.queries) == 1)
        others = [asyncio.create_task(client.post(CHAT, json=ask(**SAME))) for _ in range(2)]
        await asyncio.sleep(0.05)  # they wait, or come later: it is the same to them
        gate.set()

        assert (await first).status_code == 400
        assert {(await other).status_code for other in others} == {200}


@pytest.mark.parametrize("stream", [True, False])
async def test_when_the_first_client_leaves_one_other_takes_its_place(router, stream):
    gate = asyncio.Event()

    def held(request):
        steps = [*answer("Hello")(request)]
        return [*steps[:2], gate, *steps[2:]]

    async with Upstream(always(held)) as up:
        client = await router(snapshot(up))
        first = asyncio.create_task(client.post(CHAT, json=ask(**SAME, stream=stream)))
        await up.until(lambda: len(up.queries) == 1)
        others = [asyncio.create_task(client.post(CHAT, json=ask(**SAME))) for _ in range(3)]

        await asyncio.sleep(0.1)  # who waits shows nowhere
        first.cancel()
        await up.until(lambda: len(up.queries) == 2)
        gate.set()

        replies = await asyncio.gather(*others)

        assert {reply.status_code for reply in replies} == {200}
        said = sorted(reply.headers["x-tiergarten-cache"] for reply in replies)
        assert said == ["hit", "hit", "miss"]
        assert len(up.queries) == 2


async def test_who_waits_too_long_asks_for_itself(router):
    gate = asyncio.Event()

    def held(request):
        return [gate, *answer("late")(request)]

    async with Upstream([held]) as up:
        client = await router(snapshot(up), queue_seconds=0.05)
        first = asyncio.create_task(client.post(CHAT, json=ask(**SAME)))
        await up.until(lambda: len(up.queries) == 1)

        second = await client.post(CHAT, json=ask(**SAME))

        assert second.headers["x-tiergarten-cache"] == "miss"
        gate.set()
        assert (await first).status_code == 200


async def test_a_refresh_waits_for_nobody(router):
    gate = asyncio.Event()

    def held(request):
        return [gate, *answer("old")(request)]

    async with Upstream([held, answer("new")]) as up:
        client = await router(snapshot(up))
        first = asyncio.create_task(client.post(CHAT, json=ask(**SAME)))
        await up.until(lambda: len(up.queries) == 1)

        renewed = await client.post(CHAT, json=ask(**SAME), headers=wants("refresh"))

        assert "new" in renewed.text
        gate.set()
        await first


@pytest.mark.parametrize("end", [End.RESET, End.FIN])
async def test_a_stream_that_breaks_is_not_kept(router, end):
    broken = cut(answer("a b c d"), after_content(2), end)
    async with Upstream([broken, answer("whole")]) as up:
        client = await router(snapshot(up))
        _, first = await raw(client, ask(**SAME, stream=True))

        headers, second = await raw(client, ask(**SAME, stream=True))

        assert b"upstream_disconnected" in first
        assert headers["x-tiergarten-cache"] == "miss"
        assert b"whole" in second
        assert (await client.post(CHAT, json=ask(**SAME))).headers["x-tiergarten-cache"] == "hit"


async def test_a_stream_whose_client_leaves_is_not_kept(router):
    gate = asyncio.Event()

    def held(request):
        steps = [*answer("a b c")(request)]
        return [*steps[:3], gate, *steps[3:]]

    async with Upstream([held]) as up:
        client = await router(snapshot(up))
        async with client.stream("POST", CHAT, json=ask(**SAME, stream=True)) as reply:
            assert reply.status_code == 200
        await up.closed_by_client(timeout=10)

        again = await client.post(CHAT, json=ask(**SAME))

        assert again.headers["x-tiergarten-cache"] == "miss"
        gate.set()


@pytest.mark.parametrize(
    ("text", "cache_bytes"), [(["x" * 500_000] * 10, 1 << 30), ("word " * 200, 1000)]
)
async def test_an_answer_that_is_too_long_to_be_kept_is_given_and_forgotten(
    router, text, cache_bytes
):
    async with Upstream(always(answer(text))) as up:
        client = await router(snapshot(up), cache_bytes=cache_bytes)

        for _ in range(2):
            headers, body = await raw(client, ask(**SAME, stream=True))
            assert headers["x-tiergarten-cache"] == "miss"
            assert b"[DONE]" in body


async def test_nothing_is_left_in_flight(router):
    async with Upstream() as up:
        client = await router(snapshot(up))
        for body in (ask(**SAME), ask(**SAME, stream=True)):
            await asyncio.gather(*(client.post(CHAT, json=body) for _ in range(10)))

        assert await in_flight(client) == 0
