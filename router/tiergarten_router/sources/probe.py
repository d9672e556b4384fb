"""Whether a llama-server of our own is ready, and whether it is idle.

Only for servers on this machine, by `replica`.
"""

import asyncio
from typing import Final

from tiergarten_router.upstream.probe import check

ANSWER_SECONDS: Final = 5.0  # a server in the middle of a long prompt answers late
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 1.0
IDLE_PAUSE_SECONDS: Final = 0.25
IDLE_TIMES: Final = 2  # a query may be between the router's choice and the server


async def until_ready(port: int) -> None:
    """Wait until a server says that its model is loaded; the caller sets the bound."""
    pause = FIRST_PAUSE_SECONDS
    while not (await check(_url(port), ANSWER_SECONDS)).healthy:
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


async def until_idle(port: int, api_key: str = "") -> None:
    """Wait until a server says that nothing runs and nothing waits; the caller sets the bound."""
    idle = 0
    while idle < IDLE_TIMES:
        found = await check(_url(port), ANSWER_SECONDS, api_key)
        idle = idle + 1 if found.processing == found.deferred == 0 else 0
        await asyncio.sleep(IDLE_PAUSE_SECONDS)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
