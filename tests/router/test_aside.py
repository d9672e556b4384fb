"""Probes and metrics on a port of their own: the same answers, and quick ones."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from routing import CHAT, Published, ask, free_port, routing, series, tier
from tiergarten_router import app
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.settings import Settings
from upstream import Upstream, always, answer


@pytest.fixture
async def ops() -> AsyncIterator[httpx.AsyncClient]:
    """A client of the port."""
    url = f"http://127.0.0.1:{free_port()}"
    async with httpx.AsyncClient(base_url=url, timeout=5, trust_env=False) as client:
        yield client


async def test_the_port_answers_as_the_router_does(ops: httpx.AsyncClient) -> None:
    async with Upstream() as up:
        source = Published(Snapshot((tier("q2", up.url),)))
        async with routing(source, ops_port=ops.base_url.port) as client:
            await client.post(CHAT, json=ask())

            for path in ("/healthz", "/readyz"):
                assert (await ops.get(path)).json() == (await client.get(path)).json()
            told = series((await ops.get("/metrics")).text, "requests_total")
            assert told == {'outcome="ok",tier="q2"': 1}
            assert (await ops.get("/v1/tiers")).status_code == 404


async def test_the_port_answers_while_the_router_s_loop_does_not(ops: httpx.AsyncClient) -> None:
    async with routing(Published(Snapshot()), ops_port=ops.base_url.port):
        url = f"{ops.base_url}/healthz"

        def ask_beside() -> tuple[int, float]:
            begin = time.monotonic()
            status = httpx.get(url, trust_env=False).status_code
            return status, time.monotonic() - begin

        asked = asyncio.get_running_loop().run_in_executor(None, ask_beside)
        time.sleep(2)  # noqa: ASYNC251 -- the loop is to stand still

        status, seconds = await asked
        assert status == 200
        assert seconds < 1.9


async def test_a_loop_that_stands_still_for_long_is_told(
    ops: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with routing(Published(Snapshot()), ops_port=ops.base_url.port):
        monkeypatch.setattr(app, "STUCK_SECONDS", -1.0)  # any time is too long

        found = await ops.get("/healthz")

        assert (found.status_code, found.json()) == (503, {"status": "stuck"})


async def test_a_port_that_is_taken_is_an_error_with_its_number(ops: httpx.AsyncClient) -> None:
    port = ops.base_url.port or 0
    async with routing(Published(Snapshot()), ops_port=port):
        with pytest.raises(OSError, match=f"{port}.*TIERGARTEN_OPS_PORT"):
            await app.serve(
                Settings(ops_port=port), Published(None), host="127.0.0.1", port=free_port()
            )


async def test_the_loop_lags_little_under_many_fast_streams() -> None:
    async with Upstream(always(answer("word " * 200, gap=0.002))) as up:
        source = Published(Snapshot((tier("q2", up.url, slots=64),)))
        async with routing(source) as client:
            body = ask(stream=True)
            answers = await asyncio.gather(*(client.post(CHAT, json=body) for _ in range(20)))
            metrics = (await client.get("/metrics")).text

    assert all(found.text.endswith("data: [DONE]\n\n") for found in answers)
    buckets = series(metrics, "event_loop_lag_seconds_bucket")
    assert buckets['le="+Inf"'] >= 5
    assert buckets['le="0.2"'] >= 0.9 * buckets['le="+Inf"']  # upstream and client share the loop
