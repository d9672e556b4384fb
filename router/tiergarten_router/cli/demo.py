"""`tiergarten demo`: small models, three tiers, and a tour of queries that shows what is decided.

Everything is real: llama.cpp serves models whose weights are constructed, so that the answers are
readable and say which tier wrote them. What each query is expected to show stands in `tour`.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import httpx
from rich.console import Console

from tiergarten_router import app, logs
from tiergarten_router.cli import local, tour
from tiergarten_router.cli.progress import Progress, is_ready
from tiergarten_router.cli.tour import Seen, Step
from tiergarten_router.core.snapshot import ReplicaState, Snapshot
from tiergarten_router.sources import ports

START_SECONDS: Final = 120
BACK_SECONDS: Final = 60
QUERY_SECONDS: Final = 60
PORTS: Final = 50  # that are tried for a free one
BURST: Final = 8
WIDTH: Final = 150  # of the table where no terminal says how wide it is


def main(folder: Path, port: int, *, stays: bool) -> int:
    """Run the demo.

    Args:
        folder: Where models and YAML are written.
        port: First port to try.
        stays: Whether to go on serving after the tour.

    Returns:
        The exit code: 0 if every expectation held, 1 if not, 2 if it could not start.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    try:
        with asyncio.Runner(loop_factory=local.loop) as runner:
            return runner.run(_run(folder, port, console, stays=stays))
    except local.NotStarted as error:
        for line in error.lines:
            console.print(line, style="red", markup=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        return 0


async def _run(folder: Path, port: int, console: Console, *, stays: bool) -> int:
    models = folder / "models"
    console.print(f"Writing three small models into {models}", highlight=False)
    await asyncio.to_thread(tour.write, folder)
    free = next((p for p in range(port, port + PORTS) if not ports.refusal("127.0.0.1", p)), None)
    if free is None:
        raise local.NotStarted(f"ports {port} to {port + PORTS - 1}: none is free; use --port")
    options = local.Options((folder / "tiers.yaml",), {"models": models}, port=free)
    return await _Demo(options, console).run(stays=stays)


class _Demo:
    """A running demo: the router, what its source said last, and the tour."""

    def __init__(self, options: local.Options, console: Console) -> None:
        self._options = options
        self._console = console
        self._snapshot = Snapshot()
        self._changed = asyncio.Event()
        self._up = asyncio.Event()
        self._over = asyncio.Event()
        self._progress: Progress | None = None

    async def run(self, *, stays: bool) -> int:
        told = local.settings().model_copy(update={"log_level": "error"})
        logs.configure(told)
        async with (
            local.prepared(self._options, self._console) as source,
            local.redis(told, self._console) as complete,
        ):
            with Progress(self._console) as progress:
                watched = local.Watched(source, self._see)
                self._progress = progress
                address = {"host": self._options.host, "port": self._options.port}
                server = asyncio.create_task(
                    app.serve(complete, watched, announce=self._up.set, ended=self._over, **address)  # type: ignore[arg-type]  # two kinds of value
                )
                ready = asyncio.create_task(self._until(self._all_ready, START_SECONDS))
                await asyncio.wait({server, ready}, return_when=asyncio.FIRST_COMPLETED)
            if server.done():
                ready.cancel()
                await server
                return 2
            try:
                await ready
                self._progress = None  # what the tour breaks is shown by the tour
                held = await self._tour()
                if stays:
                    self._console.print("Serving until Ctrl-C.")
                    await server
                return 0 if held else 1
            finally:
                self._over.set()
                await server

    def _see(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        if self._progress is not None:
            self._progress.show(snapshot)
        self._changed.set()

    def _all_ready(self) -> bool:
        return bool(self._snapshot.tiers) and all(map(is_ready, self._snapshot.tiers))

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not (holds() and self._up.is_set()):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError as error:
            raise local.NotStarted(f"the tiers were not ready within {seconds:.0f} s") from error

    async def _tour(self) -> bool:
        url = f"http://{self._options.host}:{self._options.port}"
        async with httpx.AsyncClient(base_url=url, timeout=QUERY_SECONDS, trust_env=False) as http:
            seen = [await self._step(http, step) for step in tour.STEPS]
        self._console.print(tour.table(seen))
        failed = [found for found in seen if found.failures]
        for found in failed:
            told = "; ".join(found.failures)
            self._console.print(
                f"NOT as expected: {found.step.title}: {told}", markup=False, highlight=False
            )
        if not failed:
            self._console.print(f"All {len(seen)} queries went as expected.", style="green")
        self._console.print(tour.next_steps(url), markup=False, highlight=False, soft_wrap=True)
        return not failed

    async def _step(self, http: httpx.AsyncClient, step: Step) -> Seen:
        kinds: dict[str, Callable[[httpx.AsyncClient, Step], Awaitable[Seen]]] = {
            "stream": tour.streamed,
            "burst": self._burst,
            "killed": self._killed,
        }
        return await kinds.get(step.kind, tour.asked)(http, step)

    async def _burst(self, http: httpx.AsyncClient, step: Step) -> Seen:
        found = await asyncio.gather(*(tour.asked(http, step) for _ in range(BURST)))
        return tour.merged(step, found)

    async def _killed(self, http: httpx.AsyncClient, step: Step) -> Seen:
        """Ask while every process of q2 is killed, and wait until it is back."""
        before = self._restarts()
        cheapest = min(self._snapshot.tiers, key=lambda tier: tier.rank)
        for pid in _listening({endpoint.url.rpartition(":")[2] for endpoint in cheapest.endpoints}):
            os.kill(pid, signal.SIGKILL)
        seen = await tour.asked(http, step)
        await self._until(lambda: self._restarts() > before and self._all_ready(), BACK_SECONDS)
        return seen

    def _restarts(self) -> int:
        endpoints = [endpoint for tier in self._snapshot.tiers for endpoint in tier.endpoints]
        return sum(e.restarts for e in endpoints if e.state is ReplicaState.READY)


def _listening(numbers: set[str]) -> list[int]:
    """Return the pids of this process's children that were started with one of these ports."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in children}
    return [int(pid) for pid, words in commands.items() if numbers & {w.decode() for w in words}]
