"""What a llama-server of our own says of itself: whether it is ready, and whether it is idle.

Only for servers on this machine, by `replica`. `/metrics` rather than `/slots`, which would wake a
sleeping server.
"""

import asyncio
import re
from typing import Final

ANSWER_SECONDS: Final = 5.0  # a server in the middle of a long prompt answers late
ANSWER_BYTES: Final = 256 * 1024
FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 1.0
IDLE_PAUSE_SECONDS: Final = 0.25
IDLE_TIMES: Final = 2  # a query may be between the router's choice and the server

_LOAD = re.compile(r"^llamacpp:requests_(processing|deferred) (\S+)$", re.MULTILINE)
_STATUS = re.compile(r"HTTP/1\.[01] (\d{3}) ")
_LENGTH = re.compile(r"^content-length: *(\d+)", re.MULTILINE | re.IGNORECASE)


def is_idle(metrics: str) -> bool:
    """Return whether a server's metrics say that nothing runs and nothing waits in it."""
    load = dict(_LOAD.findall(metrics))
    return set(load.values()) == {"0"} and len(load) == len(("processing", "deferred"))


async def get(port: int, path: str, api_key: str = "") -> tuple[int, str]:
    """Return status and body of an answer, or status 0 when there is none in time."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await _get(port, path, api_key)
    except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError):
        return 0, ""


async def until_ready(port: int) -> None:
    """Wait until a server says that its model is loaded; the caller sets the bound."""
    pause = FIRST_PAUSE_SECONDS
    while (await get(port, "/health"))[0] != 200:  # noqa: PLR2004 - the HTTP status
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)


async def until_idle(port: int, api_key: str = "") -> None:
    """Wait until a server says that it has nothing to do; the caller sets the bound."""
    idle = 0
    while idle < IDLE_TIMES:
        _, metrics = await get(port, "/metrics", api_key)
        idle = idle + 1 if is_idle(metrics) else 0
        await asyncio.sleep(IDLE_PAUSE_SECONDS)


async def _get(port: int, path: str, api_key: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=ANSWER_BYTES)
    try:
        key = f"Authorization: Bearer {api_key}\r\n" if api_key else ""
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{key}\r\n"
        writer.write(request.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, length = _STATUS.match(head), _LENGTH.search(head)
        if status is None:
            return 0, ""
        body = await reader.readexactly(min(int(length[1]), ANSWER_BYTES) if length else 0)
        return int(status[1]), body.decode(errors="replace")
    finally:
        writer.transport.abort()
