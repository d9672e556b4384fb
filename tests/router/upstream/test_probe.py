"""Health checks of endpoints, good and bad."""

import httpx
import pytest

from tiergarten_router.upstream import probe
from upstream import (
    Behaviour,
    End,
    Upstream,
    answer,
    cut,
    dribble,
    error,
    huge_header,
    insert,
    never,
    not_http,
    page,
)


async def test_a_good_endpoint_tells_its_load() -> None:
    async with Upstream() as up, httpx.AsyncClient() as client:
        health = await probe.check(client, up.url, "key")

        assert health.healthy
        assert (health.processing, health.deferred) == (0, 0)
        assert [request.path for request in up.requests] == ["/health", "/metrics"]
        assert up.requests[1].headers["authorization"] == "Bearer key"


async def test_an_endpoint_without_metrics_is_healthy_all_the_same() -> None:
    pages = {"/metrics": error(501, "not enabled", "not_supported_error")}
    async with Upstream(pages=pages) as up, httpx.AsyncClient() as client:
        health = await probe.check(client, up.url)

        assert health.healthy
        assert health.processing is None
        assert "authorization" not in up.requests[1].headers


async def test_an_endpoint_whose_metrics_come_too_late_is_healthy() -> None:
    pages = {"/metrics": insert(answer(), 0, 5.0)}
    async with Upstream(pages=pages) as up, httpx.AsyncClient(timeout=0.2) as client:
        assert (await probe.check(client, up.url)).healthy


async def test_a_loading_or_dead_endpoint_is_not_healthy_and_says_why_without_its_address() -> None:
    pages = {"/health": page({}, 503)}
    async with Upstream(pages=pages) as up, httpx.AsyncClient() as client:
        loading = await probe.check(client, up.url)
        dead = await probe.check(client, "http://127.0.0.1:9")

        assert (loading.healthy, loading.message) == (False, "HTTP 503")
        assert (dead.healthy, dead.message) == (False, "ConnectError")


@pytest.mark.parametrize(
    ("said", "busy"),
    [
        ("3", 3),
        ("3.0", 3),
        ("1e+2", 100),
        ("e+e", None),
        ("1.2.3", None),
        ("-1", None),
        ("9" * 400, None),
    ],
)
async def test_a_load_is_a_number_or_not_told(said: str, busy: int | None) -> None:
    text = f"# HELP x\nllamacpp:requests_processing {said}\nllamacpp:requests_deferred 1\n"
    async with Upstream(pages={"/metrics": page(text)}) as up, httpx.AsyncClient() as client:
        health = await probe.check(client, up.url)

    assert health.healthy
    assert (health.processing, health.deferred) == (busy, 1)


async def test_of_an_endless_page_the_beginning_is_read() -> None:
    pages = {"/metrics": page("llamacpp:requests_processing 2\n" + "x" * (4 << 20))}
    async with Upstream(pages=pages) as up, httpx.AsyncClient() as client:
        assert (await probe.check(client, up.url)).processing == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (never(), "TimeoutError"),
        (dribble(page({}), 0.05, 1), "TimeoutError"),
        (cut(page({}), 1, End.RESET), "ReadError"),
        (cut(page({}), 0, End.FIN), "RemoteProtocolError"),
        (not_http(), "RemoteProtocolError"),
        (huge_header(), "RemoteProtocolError"),
    ],
    ids=["never", "a byte at a time", "reset", "no byte", "not HTTP", "a header of 1 MB"],
)
async def test_no_fault_is_raised(fault: Behaviour, reason: str) -> None:
    pages = {"/health": fault}
    async with Upstream(pages=pages) as up, httpx.AsyncClient(timeout=0.2) as client:
        health = await probe.check(client, up.url)

        assert (health.healthy, health.message) == (False, reason)
        await up.until(lambda: not up.connections)


async def test_an_address_that_is_none_is_not_healthy() -> None:
    async with httpx.AsyncClient() as client:
        for address in ("", "http://[", "http://a:99999"):
            assert not (await probe.check(client, address)).healthy
