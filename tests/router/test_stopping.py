"""A real router process that is told to stop: it says so first, and then lets nobody down."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from routing import CHAT, ask, free_port
from transcripts import payloads
from upstream import End, Upstream, after_content, always, answer, cut

TARGET = Path(__file__).parents[1] / "bench" / "target.py"
BODY = ask(stream=True)


@contextlib.asynccontextmanager
async def router(up: Upstream, **settings: float) -> AsyncIterator[tuple[Process, int, int]]:
    """Run a router in front of an upstream; yield it, its port and the one for probes."""
    port, ops = free_port(), free_port()
    told = {f"TIERGARTEN_{name.upper()}": str(value) for name, value in settings.items()}
    environ = os.environ | told | {"TIERGARTEN_OPS_PORT": str(ops)}
    command = [sys.executable, str(TARGET), str(port), str(up.port)]
    process = await asyncio.create_subprocess_exec(*command, env=environ)
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            while not await is_up(client, ops):  # noqa: ASYNC110 -- as below
                await asyncio.sleep(0.1)  # a process that starts tells nobody
        yield process, port, ops
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def is_up(client: httpx.AsyncClient, port: int) -> bool:
    try:
        return (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


def urls(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False)


async def test_readiness_ends_first_and_queries_are_taken_for_a_while() -> None:
    async with (
        Upstream(always(answer("a b c"))) as up,
        router(up, stop_delay_seconds=2, drain_seconds=3) as (process, port, ops),
        urls(port) as client,
        urls(ops) as probe,
    ):
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            while (await probe.get("/readyz")).status_code == 200:  # noqa: ASYNC110 -- as below
                await asyncio.sleep(0.05)  # until the signal is seen

        assert (await probe.get("/readyz")).json()["status"] == "stopping"
        assert (await probe.get("/healthz")).status_code == 200
        found = await client.post(CHAT, json=ask())
        assert found.status_code == 200
        assert found.headers["connection"] == "close"
        assert (await client.get("/v1/tiers")).headers["connection"] == "close"

        async with asyncio.timeout(10):
            assert await process.wait() == -signal.SIGTERM
        with pytest.raises(httpx.ConnectError):
            await client.get("/healthz")


async def test_ten_streams_on_their_way_are_finished() -> None:
    async with (
        Upstream(always(answer("a b c d e f g h", gap=0.2))) as up,
        router(up, drain_seconds=15) as (process, port, _),
        urls(port) as client,
    ):
        asked = [asyncio.create_task(client.post(CHAT, json=BODY)) for _ in range(10)]
        await up.until(lambda: len(up.queries) == 10)

        process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*asked)
        done = time.monotonic()

        assert all(found.text.endswith("data: [DONE]\n\n") for found in answers)
        async with asyncio.timeout(5):
            await process.wait()
        assert time.monotonic() - done < 3  # one, if the machine is ours alone


async def test_streams_longer_than_the_grace_end_with_an_error_event() -> None:
    endless = cut(answer(), after_content(1), End.HANG)
    async with (
        Upstream(always(endless)) as up,
        router(up, drain_seconds=1) as (process, port, _),
        urls(port) as client,
    ):
        asked = [asyncio.create_task(client.post(CHAT, json=BODY)) for _ in range(3)]
        await up.until(lambda: len(up.queries) == 3)
        begin = time.monotonic()

        process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*asked)

        for found in answers:
            assert payloads(found.text)[-1]["error"]["code"] == "no_ready_tier"
            assert "[DONE]" not in found.text
        async with asyncio.timeout(5):
            await process.wait()
        assert time.monotonic() - begin < 4  # grace + 1 s, if the machine is ours alone
        await up.until(lambda: not up.open_streams)
