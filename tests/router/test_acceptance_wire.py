"""A bad wire to one of two endpoints: late, sliced, thin, cut or silent. No query is lost before
its first content, and none is told wrongly after it."""

from typing import Any

import pytest

from routing import CHAT, ask, route, tier
from tiergarten_router.core.snapshot import Snapshot
from transcripts import payloads, said
from upstream import Upstream
from wire import Wire

QUERIES = 12
WHOLE = "Hello from the upstream."
HEAD_ONLY = 100  # bytes: within the answer's head
MIDWAY = 700  # bytes: after its first content


@pytest.mark.parametrize(
    "fields",
    [
        {"latency_seconds": 0.05},
        {"slice_bytes": 1},
        {"slice_bytes": 7},
        {"bytes_per_second": 9_000},
    ],
    ids=str,
)
@pytest.mark.parametrize("streams", [False, True])
async def test_a_slow_or_sliced_answer_is_the_same_answer(
    router: Any, fields: dict[str, Any], *, streams: bool
) -> None:
    async with Upstream() as up, Wire(up.url, **fields) as wire:
        client = await router(Snapshot((tier("q2", wire.url),)))

        found = await client.post(CHAT, json=ask(stream=streams))

        text = said(found.text) if streams else found.json()["choices"][0]["message"]["content"]
        assert text == WHOLE


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("streams", [False, True])
async def test_a_wire_that_is_cut_before_content_costs_no_query(
    router: Any, *, resets: bool, streams: bool
) -> None:
    async with Upstream() as up, Wire(up.url, limit_bytes=HEAD_ONLY, resets=resets) as wire:
        client = await router(Snapshot((tier("q2", wire.url, up.url),)))

        for number in range(QUERIES):
            found = await client.post(CHAT, json=ask(f"query {number}", stream=streams))

            assert found.status_code == 200
            assert "error" not in found.text
        assert wire.carried > 0


async def test_a_wire_that_is_cut_midway_is_told_to_a_stream_and_retried_for_the_rest(
    router: Any,
) -> None:
    async with Upstream() as up, Wire(up.url, limit_bytes=MIDWAY, resets=True) as wire:
        client = await router(Snapshot((tier("q2", wire.url), tier("q3", up.url))))

        stream = await client.post(CHAT, json=ask(stream=True))
        whole = await client.post(CHAT, json=ask(stream=False))

        assert payloads(stream.text)[-1]["error"]["code"] == "upstream_disconnected"
        assert "[DONE]" not in stream.text
        assert whole.json()["choices"][0]["message"]["content"] == WHOLE
        assert whole.headers["x-tiergarten-tier"] == "q3"


async def test_a_wire_that_swallows_everything_costs_the_time_to_a_first_token_and_no_query(
    router: Any,
) -> None:
    quick = route(
        "q2",
        "q3",
        timeouts={"firstTokenSeconds": 1, "totalSeconds": 30},
        fallback={"on": ["Timeout"], "maxAttempts": 3},
    )
    async with Upstream() as up, Wire(up.url, blackhole=True) as wire:
        client = await router(Snapshot((tier("q2", wire.url), tier("q3", up.url)), (quick,)))

        found = await client.post(CHAT, json=ask(stream=True))

        assert said(found.text) == WHOLE
        assert found.headers["x-tiergarten-attempts"] == "2"
