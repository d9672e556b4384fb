"""Health and load of one endpoint, asked for now and then: `/health`, then `/metrics`.

Over a connection of the kind that queries use, closed after the check: a general HTTP client costs
six times as much, and with thousands of endpoints checks are much of what a router does. Never
`/slots`: that one counts as activity and would wake a sleeping server.
"""

import asyncio
import re
from contextlib import closing
from functools import partial
from math import inf
from typing import Final

from tiergarten_router.core.health import Health
from tiergarten_router.errors import FirstTokenTimeout, RouterError
from tiergarten_router.upstream import endpoints
from tiergarten_router.upstream.connection import OK
from tiergarten_router.upstream.deadlines import Deadlines
from tiergarten_router.upstream.pool import Pool

PAGE_BYTES: Final = 1 << 20  # an honest page has 5,000; of a longer one the beginning is read
_NUMBER: Final = r"[0-9]{1,15}(?:\.[0-9]+)?(?:e\+?[0-9]{1,2})?"
_GAUGE: Final = re.compile(
    rf"^llamacpp:requests_(processing|deferred) ({_NUMBER})$".encode(), re.MULTILINE
)
_late = partial(FirstTokenTimeout, "The endpoint did not answer in time.")


async def check(url: str, seconds: float, api_key: str = "") -> Health:
    """Return what an endpoint says of itself; never raises for what it does.

    Args:
        url: The endpoint's base URL.
        seconds: Longest time for a page.
        api_key: The endpoint's key, empty when it wants none.
    """
    try:
        pool = Pool(url, Deadlines(), seconds)
    except ValueError:
        return Health(healthy=False, latency_seconds=0.0, message="Its address is no URL.")
    with closing(pool):
        return await _check(pool, seconds, api_key)


async def _check(pool: Pool, seconds: float, api_key: str) -> Health:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        status, _ = await _page(pool, "/health", seconds)
    except RouterError as error:
        return Health(healthy=False, latency_seconds=0.0, message=error.message)
    latency = loop.time() - began
    if status != OK:
        return Health(healthy=False, latency_seconds=latency, message=f"HTTP {status}")
    try:
        status, page = await _page(pool, "/metrics", seconds, api_key)
    except RouterError:
        status, page = 0, b""  # a busy server answers late; it is healthy all the same
    load = dict(_GAUGE.findall(page)) if status == OK else {}
    numbers = {name: int(float(value)) for name, value in load.items()}
    return Health(
        healthy=True,
        latency_seconds=latency,
        processing=numbers.get(b"processing"),
        deferred=numbers.get(b"deferred"),
    )


async def _page(pool: Pool, path: str, seconds: float, api_key: str = "") -> tuple[int, bytes]:
    """Return status and body of a page.

    Raises:
        RouterError: If it does not come whole, or not in time.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            request = endpoints.page(pool.authority, path, api_key)
            connection = await pool.exchange(request, inf, _late)
            try:
                while len(body) <= PAGE_BYTES and (part := await connection.read()):
                    body += part
            finally:
                pool.give_back(connection)
    except TimeoutError as error:
        raise _late() from error
    return connection.status, bytes(body)
