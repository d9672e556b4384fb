r"""One replica of a tier: a llama-server that is started, watched, started again, drained, ended.

    PENDING -> LOADING -> READY -> DRAINING -> gone
                  \          \
                   +----------+--> FAILED -> (back-off) -> LOADING

`local` owns the replicas. Everything a replica knows of itself is its `endpoint`; `changed` is
called whenever that is another one.
"""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import structlog

from tiergarten_router.core.snapshot import Endpoint, ReplicaState
from tiergarten_router.sources import probe
from tiergarten_router.sources.process import Process, race
from tiergarten_router.sources.template import Template

log = structlog.get_logger()

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
WELL_SECONDS: Final = 60.0
TERM_SECONDS: Final = 5.0  # an idle server needs 0.1 s; one with an open stream its next ping
MESSAGE_LINES: Final = 3
LINES_SEARCHED: Final = 20
_MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next start.

    Attributes:
        failures: Starts in a row that did not last.
    """

    failures: int = 0

    @property
    def seconds(self) -> float:
        """The pause before the next start; 0 before the first."""
        if not self.failures:
            return 0.0
        return min(FIRST_PAUSE_SECONDS * 2.0 ** min(self.failures - 1, 16), LONGEST_PAUSE_SECONDS)

    def after(self, ready_seconds: float) -> "Backoff":
        """Return the back-off after an end.

        Args:
            ready_seconds: How long the server was ready; long enough forgives what was before.
        """
        return Backoff(1 if ready_seconds >= WELL_SECONDS else self.failures + 1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a replica may take; may change while it runs.

    Attributes:
        startup_seconds: From the start until the model is loaded.
        drain_seconds: From the last new query to the end of all answers.
    """

    startup_seconds: float
    drain_seconds: float


def ending(code: int, lines: tuple[str, ...]) -> str:
    """Return why a server ended, for people.

    Args:
        code: Its exit code, negative for a signal.
        lines: Its last lines of output.
    """
    how = f"ended with exit code {code}"
    if code < 0:
        guess = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
        how = f"was ended by signal {-code} ({signal.strsignal(-code)}{guess})"
    telling = [line for line in lines if "error" in line.lower()] or lines
    return ": ".join(filter(None, (f"llama-server {how}", " | ".join(telling[-MESSAGE_LINES:]))))


class Replica:
    """A supervised llama-server.

    Args:
        tier: The tier's name.
        index: Its number within the tier.
        template: What it is started from.
        bounds: How long it may take.
        take_port: Returns a port that nobody listens on.
        changed: Called when `endpoint` changed; must not wait.

    Attributes:
        bounds: How long it may take; may be set while it runs.
        endpoint: What it is and does.
        port: Its port, 0 while it has none.
    """

    def __init__(
        self,
        tier: str,
        index: int,
        template: Template,
        bounds: Bounds,
        take_port: Callable[[], int],
        changed: Callable[[], None],
    ) -> None:
        self.tier = tier
        self.index = index
        self.template = template
        self.bounds = bounds
        self.port = 0
        self.endpoint = Endpoint(f"{tier}-{index}", "", ReplicaState.PENDING)
        self._take_port = take_port
        self._changed = changed
        self._process: Process | None = None
        self._retired = asyncio.Event()
        self._hurried = asyncio.Event()
        self._had_queries = False

    @property
    def pid(self) -> int:
        """The process id of its server, 0 while it has none."""
        return 0 if self._process is None else self._process.pid

    async def run(self) -> None:
        """Keep it running until it is retired, then end it; a cancellation kills it."""
        try:
            await race(self._supervise(), self._retired.wait())
            await self._end()
        finally:
            if self._process is not None:
                await self._process.reap()
            log.info("replica_ended", endpoint=self.endpoint.id)

    def kill(self) -> None:
        """End the server at once."""
        if self._process is not None:
            self._process.kill()

    def retire(self, *, drain: bool = True) -> None:
        """Send it no more queries and end it; may be called again.

        Args:
            drain: Whether the answers that are on their way are waited for.
        """
        if not drain:
            self._hurried.set()
        if not self._retired.is_set():
            self._had_queries = self.endpoint.state is ReplicaState.READY
            self._become(ReplicaState.DRAINING, "finishes its answers, then ends")
            log.info("replica_draining", endpoint=self.endpoint.id)
        self._retired.set()

    def sample(self) -> None:
        """Look at its memory."""
        if self._process is None or self._process.ended:
            return
        resident = self._process.resident_bytes()
        if (resident or 0) // _MEBIBYTE != (self.endpoint.memory_bytes or 0) // _MEBIBYTE:
            self.endpoint = replace(self.endpoint, memory_bytes=resident)
            self._changed()

    # -- while it is wanted

    async def _supervise(self) -> None:
        backoff = Backoff()
        while True:
            try:
                reason, ready_seconds = await self._serve()
            except OSError as error:  # no more processes, files or memory for this user
                reason, ready_seconds = f"llama-server cannot be started: {error.strerror}", 0.0
            backoff = backoff.after(ready_seconds)
            await self._pause(backoff.seconds, reason)

    async def _serve(self) -> tuple[str, float]:
        """Start the server and wait for its end; return why, and how long it was ready."""
        self.port = self._take_port()
        command = self.template.command(self.port)
        process = self._process = await Process.start(command, self.template.environment())
        self._become(ReplicaState.LOADING, "loads its model")
        log.info("replica_started", endpoint=self.endpoint.id, pid=process.pid)
        if reason := await self._load(process):
            return reason, 0.0
        self._become(ReplicaState.READY)
        self.sample()
        log.info("replica_ready", endpoint=self.endpoint.id)
        loop = asyncio.get_running_loop()
        ready_at = loop.time()
        code = await process.wait()
        return ending(code, process.last_lines(LINES_SEARCHED)), loop.time() - ready_at

    async def _load(self, process: Process) -> str:
        """Wait until the model is loaded; return why that will not be, or nothing."""
        try:
            async with asyncio.timeout(self.bounds.startup_seconds):
                await race(process.wait(), probe.until_ready(self.port))
        except TimeoutError:
            process.kill()
            await process.wait()
            seconds = self.bounds.startup_seconds
            return f"not ready after {seconds:g} s (rollout.startupTimeoutSeconds)"
        if not process.ended:
            return ""
        return ending(await process.wait(), process.last_lines(LINES_SEARCHED))

    async def _pause(self, seconds: float, reason: str) -> None:
        self._become(ReplicaState.FAILED, f"{reason}; is started again in {seconds:g} s")
        log.warning("replica_failed", endpoint=self.endpoint.id, reason=reason, pause=seconds)
        await asyncio.sleep(seconds)
        self.endpoint = replace(self.endpoint, restarts=self.endpoint.restarts + 1)

    # -- when it is not wanted any more

    async def _end(self) -> None:
        process = self._process
        if process is None or process.ended:
            return
        if not self._had_queries:
            process.kill()  # a server that loads does not listen to SIGTERM
            await process.wait()
            return
        await self._drain(process)
        await process.stop(TERM_SECONDS)

    async def _drain(self, process: Process) -> None:
        idle = probe.until_idle(self.port, self.template.api_key)
        try:
            async with asyncio.timeout(self.bounds.drain_seconds):
                await race(idle, process.wait(), self._hurried.wait())
        except TimeoutError:
            log.warning("replica_cut_off", endpoint=self.endpoint.id,
                        waited_seconds=self.bounds.drain_seconds)  # fmt: skip

    def _become(self, state: ReplicaState, message: str = "") -> None:
        """Take on another state; one that waits to be started has neither address nor memory."""
        waits = state in {ReplicaState.PENDING, ReplicaState.FAILED}
        starts = state is ReplicaState.LOADING
        url = f"http://127.0.0.1:{self.port}" if starts else self.endpoint.url
        self.endpoint = replace(
            self.endpoint,
            state=state,
            message=message,
            url="" if waits else url,
            memory_bytes=None if waits else self.endpoint.memory_bytes,
        )
        self._changed()
