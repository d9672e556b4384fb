"""Health checks of endpoints, good and bad."""

import httpx

from tiergarten_router.upstream import probe
from upstream import Upstream, answer, error, insert, page


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
