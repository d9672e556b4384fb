"""The wire does what it is told, and nothing else."""

import time

import httpx
import pytest

from upstream import Upstream
from wire import Wire

CHAT = "/v1/chat/completions"
ASKED = {"model": "tiny", "messages": [], "stream": True}


async def asked(url: str) -> bytes:
    async with httpx.AsyncClient(base_url=url, timeout=10, trust_env=False) as client:
        return (await client.post(CHAT, json=ASKED)).content


@pytest.mark.parametrize(
    "fields",
    [{}, {"slice_bytes": 3}, {"latency_seconds": 0.05}, {"bytes_per_second": 20_000}],
    ids=str,
)
async def test_bytes_arrive_as_they_were_sent(fields: dict[str, float]) -> None:
    async with Upstream() as up, Wire(up.url, **fields) as wire:  # type: ignore[arg-type]  # fields of many types
        assert (await asked(wire.url)).endswith(b"data: [DONE]\n\n")
        assert wire.carried == 1


async def test_latency_is_felt() -> None:
    async with Upstream() as up, Wire(up.url, latency_seconds=0.3) as wire:
        begin = time.monotonic()
        await asked(wire.url)

    assert time.monotonic() - begin > 0.3


@pytest.mark.parametrize("resets", [False, True])
async def test_a_limit_ends_the_connection(*, resets: bool) -> None:
    async with Upstream() as up, Wire(up.url, limit_bytes=200, resets=resets) as wire:
        with pytest.raises(httpx.TransportError):
            await asked(wire.url)


async def test_nothing_comes_out_of_a_black_hole() -> None:
    async with Upstream() as up, Wire(up.url, blackhole=True) as wire:
        async with httpx.AsyncClient(base_url=wire.url, timeout=0.5, trust_env=False) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post(CHAT, json=ASKED)
        assert len(up.requests) == 1
