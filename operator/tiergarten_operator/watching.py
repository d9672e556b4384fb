"""Keeps kopf running: it ends on any error in a watch, and is started again without losing work.

kopf takes every task of its loop for its own and cancels them all when it ends, so it gets a thread
and a loop of its own. Store and queue are not touched from there: what it sees is handed over by
`call_soon_threadsafe`, in order. After each start the audit tells what went meanwhile.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import kopf
import structlog

from tiergarten_api import labels
from tiergarten_operator.workqueue import Backoff

log = structlog.get_logger()

STEADY_SECONDS: Final = 60.0
"""A run of this length counts as good: the next failure is a first one again."""
END_SECONDS: Final = 15.0
"""Longest wait for kopf to end when it is asked to."""

GOODBYE_SECONDS: Final = 0.1


@dataclass
class Watching:
    """Supervises kopf's operator.

    Attributes:
        registry: What kopf watches and calls.
        settings: Makes kopf's settings, anew for each run.
        namespaces: Those to watch; empty for all.
        clock: Seconds of a monotonic clock.
        hindrance: Asked before each run: why it would see nothing, empty if it will.
        restarted: Told why a run ended.
        jitter: A factor for each wait, so that operators do not come back together.
        up: Set while kopf runs.
        backoff: How long to wait after a run that ended.
    """

    registry: kopf.OperatorRegistry
    settings: Callable[[], kopf.OperatorSettings]
    namespaces: Sequence[str]
    clock: Callable[[], float]
    hindrance: Callable[[], Awaitable[str]]
    restarted: Callable[[str], None] = lambda _: None
    jitter: Callable[[], float] = lambda: 1.0
    up: threading.Event = field(default_factory=threading.Event)
    backoff: Backoff = field(default_factory=lambda: Backoff(1.0, 10.0))

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until told to stop."""
        failures = 0
        while not stop.is_set():
            began = self.clock()
            if not (reason := await self.hindrance()):
                error = await self._once(stop)
                if stop.is_set():
                    return
                reason = f"{type(error).__name__}: {error}"
                self.restarted(type(error).__name__)
            failures = 1 if self.clock() - began > STEADY_SECONDS else failures + 1
            seconds = self.backoff.after(failures) * self.jitter()
            log.warning("not_watching", reason=reason, again_seconds=round(seconds, 1))
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), seconds)

    async def _once(self, stop: asyncio.Event) -> Exception | None:
        """Run kopf once, until it ends or must; return why it ended."""
        one = _Run(self, asyncio.get_running_loop())
        stopped = asyncio.ensure_future(stop.wait())
        try:
            waits: set[asyncio.Future[Any]] = {one.ended, stopped}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            one.stop()
            await asyncio.wait({one.ended}, timeout=END_SECONDS)
            self.up.clear()
        return one.error


class _Run:
    """One run of kopf, in a thread that starts at once."""

    def __init__(self, watching: Watching, home: asyncio.AbstractEventLoop) -> None:
        self.ended: asyncio.Future[None] = home.create_future()
        self.error: Exception | None = None
        self._watching, self._home = watching, home
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._asked = threading.Event()
        # A daemon, so that a kopf that hangs cannot keep the process from ending.
        threading.Thread(target=self._main, name="kopf", daemon=True).start()

    def stop(self) -> None:
        """Ask it to end."""
        self._asked.set()
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stop.set)

    def _main(self) -> None:
        try:
            asyncio.run(self._operate())
        except Exception as error:  # noqa: BLE001 -- whatever ends kopf, the operator goes on
            self.error = error
        finally:
            with suppress(RuntimeError):  # the process ends
                self._home.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    async def _operate(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._asked.is_set():
            return
        watching = self._watching
        try:
            await kopf.operator(
                registry=watching.registry,
                settings=watching.settings(),
                namespaces=list(watching.namespaces),
                clusterwide=not watching.namespaces,
                standalone=True,
                # Else kopf asks for the user's name, and in an image user 65532 has none.
                identity=labels.OPERATOR,  # type: ignore[arg-type]  # its NewType of str is private
                stop_flag=self._stop,
                ready_flag=watching.up,
            )
        finally:
            # kopf closes its connections without waiting for them to have said good-bye.
            await asyncio.sleep(GOODBYE_SECONDS)
