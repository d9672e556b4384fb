"""Health and load of one endpoint, asked for now and then: `/health`, then `/metrics`.

Never `/slots`: that one counts as activity and would wake a sleeping server.
"""

import re
from typing import Final

import httpx

from tiergarten_router.core.health import Health

OK: Final = 200
_GAUGE = re.compile(r"^llamacpp:requests_(processing|deferred) ([0-9.e+]+)$", re.MULTILINE)


async def check(client: httpx.AsyncClient, url: str, api_key: str = "") -> Health:
    """Return what an endpoint says of itself; never raises for what it does.

    Args:
        client: With the limits of a check.
        url: The endpoint's base URL.
        api_key: The endpoint's key, empty when it wants none.
    """
    try:
        answer = await client.get(url + "/health")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Health(healthy=False, latency_seconds=0.0, message=type(error).__name__)
    latency = answer.elapsed.total_seconds()
    if answer.status_code != OK:
        return Health(healthy=False, latency_seconds=latency, message=f"HTTP {answer.status_code}")
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        page = await client.get(url + "/metrics", headers=headers)
        load = dict(_GAUGE.findall(page.text)) if page.status_code == OK else {}
    except (httpx.HTTPError, httpx.InvalidURL):
        load = {}  # a busy server answers late; it is healthy all the same
    numbers = {name: int(float(value)) for name, value in load.items()}
    return Health(
        healthy=True,
        latency_seconds=latency,
        processing=numbers.get("processing"),
        deferred=numbers.get("deferred"),
    )
