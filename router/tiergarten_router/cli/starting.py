"""What programs that serve do before: settings, an event loop, and refusals in a line."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any, Final

import structlog
from pydantic import ValidationError
from rich.console import Console

from tiergarten_api import environment
from tiergarten_router.settings import Settings
from tiergarten_router.sources import ports

log = structlog.get_logger()
NOT_STARTED: Final = 2
"""Exit code of a program that could not start."""


class NotStarted(Exception):
    """The program cannot start.

    Args:
        lines: What is wrong and what to do, a line each.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines

    def show(self, console: Console) -> None:
        """Say it."""
        for line in self.lines:
            console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)


def settings() -> Settings:
    """Return the settings of the environment.

    Raises:
        NotStarted: If one is not valid.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise NotStarted(*environment.refused(Settings, error)) from error


def tell_unknown() -> None:
    """Log which variables look like settings and are none; a misspelt one would go unnoticed."""
    for name, cure in environment.unknown(Settings, os.environ).items():
        log.warning("setting_unknown", variable=name, cure=cure)


def check_port(host: str, port: int, option: str = "--port") -> None:
    """Look whether a port can be listened on.

    Args:
        host: The address.
        port: The port.
        option: What chooses another.

    Raises:
        NotStarted: If it cannot.
    """
    if why := ports.refusal(host, port):
        raise NotStarted(
            f"port {port} of {host}: {why}; end what listens there, or choose another with {option}"
        )


def main(program: Coroutine[Any, Any, None], console: Console) -> int:
    """Run a program and return the exit code: 0, or 2 when it could not start."""
    try:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(program)
    except NotStarted as error:
        error.show(console)
        return NOT_STARTED
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0  # it was told to end, and has put away what it started
    return 0


def end_by_signal(task: asyncio.Task[Any]) -> None:
    """Let SIGTERM cancel a task, before and after uvicorn takes the signal for itself.

    A handler of the event loop would hear it at the same time as uvicorn, and cut off what uvicorn
    lets come to an end.
    """
    signal.signal(signal.SIGTERM, lambda *_: task.cancel())


def loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop, uvloop's."""
    import uvloop  # noqa: PLC0415 -- only a program that serves needs it

    new: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return new
