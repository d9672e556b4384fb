"""Health checks of endpoints, good and bad."""

import re

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

SECONDS = 5.0
SHORT = 0.2
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
REFUSED = "The endpoint accepts no connection (ConnectionRefusedError)."


async def test_a_good_endpoint_tells_its_load() -> None:
    async with Upstream() as up:
        health = await probe.check(up.url, SECONDS, "key")

        assert health.healthy
        assert (health.processing, health.deferred) == (0, 0)
        assert [request.path for request in up.requests] == ["/health", "/metrics"]
        assert up.requests[1].headers["authorization"] == "Bearer key"


async def test_an_endpoint_without_metrics_is_healthy_all_the_same() -> None:
    pages = {"/metrics": error(501, "not enabled", "not_supported_error")}
    async with Upstream(pages=pages) as up:
        health = await probe.check(up.url, SECONDS)

        assert health.healthy
        assert health.processing is None
        assert "authorization" not in up.requests[1].headers


async def test_an_endpoint_whose_metrics_come_too_late_is_healthy() -> None:
    pages = {"/metrics": insert(answer(), 0, 5.0)}
    async with Upstream(pages=pages) as up:
        assert (await probe.check(up.url, SHORT)).healthy


async def test_a_loading_or_dead_endpoint_is_not_healthy_and_says_why_without_its_address() -> None:
    pages = {"/health": page({}, 503)}
    async with Upstream(pages=pages) as up:
        loading = await probe.check(up.url, SECONDS)
        dead = await probe.check("http://127.0.0.1:9", SECONDS)

        assert (loading.healthy, loading.message) == (False, "HTTP 503")
        assert (dead.healthy, dead.message) == (False, REFUSED)


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
    async with Upstream(pages={"/metrics": page(text)}) as up:
        health = await probe.check(up.url, SECONDS)

    assert health.healthy
    assert (health.processing, health.deferred) == (busy, 1)


async def test_of_an_endless_page_the_beginning_is_read() -> None:
    pages = {"/metrics": page("llamacpp:requests_processing 2\n" + "x" * (4 << 20))}
    async with Upstream(pages=pages) as up:
        assert (await probe.check(up.url, SECONDS)).processing == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (never(), "in time"),
        (dribble(page({}), 0.05, 1), "in time"),
        (cut(page({}), 1, End.RESET), "ConnectionResetError"),
        (cut(page({}), 0, End.FIN), "closed"),
        (lambda _: [HALF, End.FIN], "ended its answer early"),
        (not_http(), "valid HTTP"),
        (huge_header(), "valid HTTP|a head of more than"),
    ],
    ids=["never", "a byte at a time", "reset", "no byte", "cut", "not HTTP", "a header of 1 MB"],
)
async def test_no_fault_is_raised(fault: Behaviour, reason: str) -> None:
    pages = {"/health": fault}
    async with Upstream(pages=pages) as up:
        health = await probe.check(up.url, SHORT)

        assert not health.healthy
        assert re.search(reason, health.message)
        await up.until(lambda: not up.connections)


async def test_an_address_that_is_none_is_not_healthy() -> None:
    for address in ("", "http://[", "http://a:99999"):
        assert not (await probe.check(address, SECONDS)).healthy


async def test_no_connection_outlives_a_check() -> None:
    async with Upstream() as up:
        assert (await probe.check(up.url, SECONDS)).healthy

        await up.until(lambda: not up.connections)
