"""A child process: its own process group, its last log lines, its memory, its end.

It dies with its parent, whatever ends the parent (`launch`). Its output is always read, or it would
stop at a full pipe; only the last lines are kept.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

LINES: Final = 40
LINE_CHARACTERS: Final = 400
OUTPUT_SECONDS: Final = 1.0  # for the last output, which a grandchild may hold open
REAP_SECONDS: Final = 2.0
LAUNCHER: Final = str(Path(__file__).with_name("launch.py"))


async def race(*contenders: Coroutine[Any, Any, Any]) -> int:
    """Wait for the first of several to end, end the others, and return the first one's index.

    Raises:
        Exception: What the first one raised.
    """
    tasks = [asyncio.ensure_future(contender) for contender in contenders]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    first = next(index for index, task in enumerate(tasks) if task in done)
    tasks[first].result()
    return first


class Process:
    """A running child; `start` makes one.

    Attributes:
        pid: Its process id, and that of its group.
    """

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self.pid = child.pid
        self._child = child
        self._stdout = child.stdout
        self._lines: deque[str] = deque(maxlen=LINES)
        self._output = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, argv: Sequence[str], env: Mapping[str, str]) -> Self:
        """Start a program; one that cannot be started is a process that ends at once.

        Args:
            argv: The program, as a path or a name to be found on PATH, and its arguments.
            env: The whole environment.
        """
        launcher = (sys.executable, "-I", "-S", LAUNCHER, str(os.getpid()))
        child = await asyncio.create_subprocess_exec(
            *launcher, *argv, env=env, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT,
            start_new_session=True,
        )  # fmt: skip
        return cls(child)

    @property
    def ended(self) -> bool:
        """Whether it has ended and been waited for."""
        return self._child.returncode is not None

    async def wait(self) -> int:
        """Wait for its end and its last output; return the exit code, negative for a signal."""
        code = await self._child.wait()
        await asyncio.wait([self._output], timeout=OUTPUT_SECONDS)
        return code

    async def stop(self, seconds: float) -> None:
        """Ask it to end, wait for that, and kill it after a bound."""
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds):
                await self._child.wait()
        except TimeoutError:
            self.kill()
        await self.wait()

    def kill(self) -> None:
        """Kill it and what it started, at once."""
        self._signal(signal.SIGKILL)

    async def reap(self) -> None:
        """Kill it and wait until it is gone, so that nothing of it is left in the event loop."""
        self.kill()
        with suppress(TimeoutError):  # it hangs in the kernel, and nobody can help that
            async with asyncio.timeout(REAP_SECONDS):
                await self._child.wait()

    def resident_bytes(self) -> int | None:
        """Return its resident memory, or None when it is gone."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        except (OSError, IndexError):
            return None
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def last_lines(self, count: int) -> tuple[str, ...]:
        """Return up to `count` of its last lines of output."""
        return tuple(self._lines)[-count:]

    def _signal(self, number: signal.Signals) -> None:
        if not self.ended:
            with suppress(ProcessLookupError):  # ended, and not waited for yet
                os.killpg(self.pid, number)

    async def _read(self) -> None:
        rest = b""
        while self._stdout and (part := await self._stdout.read(65_536)):
            *lines, rest = (rest + part).replace(b"\r", b"\n").split(b"\n")
            self._keep(lines)
            rest = rest[-LINE_CHARACTERS * 4 :]  # a line without an end must not grow for ever
        self._keep([rest])

    def _keep(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            if text := line.decode(errors="replace").strip():
                self._lines.append(text[:LINE_CHARACTERS])
