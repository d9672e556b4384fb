"""Health and load of one endpoint, asked for now and then: `/health`, then `/metrics`.

Never `/slots`: that one counts as activity and would wake a sleeping server.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Final

import httpx

from tiergarten_router.core.health import Health

OK: Final = 200
PAGE_BYTES: Final = 1 << 20  # an honest page has 5,000; of a longer one the beginning is read
_NUMBER: Final = r"[0-9]{1,15}(?:\.[0-9]+)?(?:e\+?[0-9]{1,2})?"
_GAUGE: Final = re.compile(
    rf"^llamacpp:requests_(processing|deferred) ({_NUMBER})$".encode(), re.MULTILINE
)


async def check(client: httpx.AsyncClient, url: str, api_key: str = "") -> Health:
    """Return what an endpoint says of itself; never raises for what it does.

    Args:
        client: Its time-out is the longest time for a page.
        url: The endpoint's base URL.
        api_key: The endpoint's key, empty when it wants none.
    """
    try:
        answer, _ = await _page(client, url + "/health")
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        return Health(healthy=False, latency_seconds=0.0, message=type(error).__name__)
    latency = answer.elapsed.total_seconds()
    if answer.status_code != OK:
        return Health(healthy=False, latency_seconds=latency, message=f"HTTP {answer.status_code}")
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        answer, page = await _page(client, url + "/metrics", headers)
        load = dict(_GAUGE.findall(page)) if answer.status_code == OK else {}
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
        load = {}  # a busy server answers late; it is healthy all the same
    numbers = {name: int(float(value)) for name, value in load.items()}
    return Health(
        healthy=True,
        latency_seconds=latency,
        processing=numbers.get(b"processing"),
        deferred=numbers.get(b"deferred"),
    )


async def _page(
    client: httpx.AsyncClient, url: str, headers: Mapping[str, str] | None = None
) -> tuple[httpx.Response, bytes]:
    """Return an answer and its body; httpx's own time-out begins anew with each byte."""
    body = bytearray()
    async with (
        asyncio.timeout(client.timeout.read),
        client.stream("GET", url, headers=headers) as answer,
    ):
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > PAGE_BYTES:
                break
    return answer, bytes(body)
