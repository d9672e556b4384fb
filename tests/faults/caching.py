"""Short words for tests of the answer cache."""

from collections.abc import Mapping
from typing import Any

import httpx

from routing import CHAT, series, tier
from tiergarten_router.core.snapshot import Snapshot
from upstream import Upstream

SAME: dict[str, Any] = {"temperature": 0}
"""What makes a query one that may be cached."""


def wants(what: str) -> dict[str, str]:
    """Return the header by which a client says what it wants of the cache."""
    return {"X-Tiergarten-Cache": what}


def snapshot(up: Upstream, **fields: Any) -> Snapshot:
    """Return a snapshot of one tier with one endpoint."""
    return Snapshot((tier("q2", up.url, **fields),))


async def results(client: httpx.AsyncClient) -> dict[str, float]:
    """Return how many look-ups came to what."""
    found = series((await client.get("/metrics")).text, "cache_requests_total")
    return {labels.split('"')[1]: count for labels, count in found.items()}


async def raw(
    client: httpx.AsyncClient, body: Mapping[str, object], **headers: str
) -> tuple[httpx.Headers, bytes]:
    """Return the headers and the bytes of a streamed answer."""
    async with client.stream("POST", CHAT, json=body, headers=headers) as reply:
        return reply.headers, await reply.aread()
