"""`tiergarten demo`: small models, three tiers, and a tour of queries that shows what is decided.

Everything is real: llama.cpp serves models whose weights are constructed, so that the answers are
readable and say which tier wrote them. What each query is expected to show stands in `tour`.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Final

import httpx
from rich.console import Console

from tiergarten_router import app, logs
from tiergarten_router.cli import children, local, materials, queries, results, starting, tour
from tiergarten_router.cli.progress import Progress, is_ready
from tiergarten_router.cli.starting import NotStarted
from tiergarten_router.cli.tour import Kind, Result, Step
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.settings import Settings
from tiergarten_router.sources import ports
from tiergarten_router.sources.local import LocalSource

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 120.0
BACK_SECONDS: Final = 60.0
QUERY_SECONDS: Final = 60.0
GONE_SECONDS: Final = 2.0  # for a killed process to be gone
LOOK_SECONDS: Final = 0.01  # between two looks whether it is
PORTS: Final = 50  # that are tried for a free one
WIDTH: Final = 160  # of the table where no terminal says how wide it is
INTERRUPTED: Final = 130  # what a shell says of a program that Ctrl-C ended


def main(folder: Path, port: int, *, stays: bool) -> int:
    """Run the demo.

    Args:
        folder: Where models and YAML are written.
        port: First port to try.
        stays: Whether to go on serving after the tour.

    Returns:
        The exit code: 0 if every expectation held, 1 if not, 2 if it could not start, 130 if it was
        interrupted before the tour's end.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    demo = _Demo(console)
    try:
        with asyncio.Runner(loop_factory=starting.loop) as runner:
            runner.run(demo.run(folder, port, stays=stays))
    except NotStarted as error:
        for line in error.lines:
            sys.stderr.write(f"{line}\n")
        return 2
    except (KeyboardInterrupt, asyncio.CancelledError):
        return demo.code
    return demo.code


class _Demo:
    """The router, what its source said last, and the tour.

    Args:
        console: Where all is shown.

    Attributes:
        code: The exit code, as far as it is known.
    """

    def __init__(self, console: Console) -> None:
        self.code = INTERRUPTED
        self._console = console
        self._began = perf_counter()
        self._snapshot = Snapshot()
        self._changed = asyncio.Event()
        self._up = False
        self._over = asyncio.Event()
        self._progress: Progress | None = None

    async def run(self, folder: Path, port: int, *, stays: bool) -> None:
        me = asyncio.current_task()
        if me is not None:
            starting.end_by_signal(me)
        told = local.alone(starting.settings()).model_copy(update={"log_level": "error"})
        logs.configure(told)
        options = local.Options(
            (folder / materials.TIERS,), {"models": folder / "models"}, HOST, _free(port)
        )
        await self._write(folder)
        async with (
            local.prepared(options, self._console) as source,
            local.redis(told, self._console) as complete,
        ):
            server = asyncio.create_task(self._serve(complete, source, options.port))
            try:
                with Progress(self._console) as self._progress:
                    await _while_running(server, self._ready())
                await _while_running(server, self._tour(f"http://{HOST}:{options.port}"))
                if stays:
                    self._console.print("Serving until Ctrl-C.")
                    await server
            finally:
                self._over.set()
                await server

    async def _write(self, folder: Path) -> None:
        self._console.print(f"Writing three small models into {folder}", highlight=False)
        try:
            await asyncio.to_thread(materials.write, folder)
        except OSError as error:
            raise NotStarted(
                f"--folder {folder}: {error.strerror or error}; name one that can be written to"
            ) from error

    async def _serve(self, told: Settings, source: LocalSource, port: int) -> None:
        watched = local.Watched(source, self._see)
        try:
            await app.serve(
                told, watched, host=HOST, port=port, announce=self._announce, ended=self._over
            )
        except SystemExit as error:  # so uvicorn says that somebody was quicker
            raise NotStarted(
                f"port {port} was taken just now; start again, or choose another with --port"
            ) from error

    def _announce(self) -> None:
        self._up = True
        self._changed.set()

    def _see(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        if self._progress is not None:
            self._progress.show(snapshot)
        self._changed.set()

    # -- waiting

    async def _ready(self) -> None:
        if not await self._until(self._all_ready, START_SECONDS):
            raise NotStarted(
                f"not all tiers were ready after {START_SECONDS:.0f} s; see what is said above"
            )
        self._progress = None  # what the tour breaks is shown by the tour
        self._console.print(f"Ready after {perf_counter() - self._began:.1f} s.", highlight=False)

    def _all_ready(self) -> bool:
        return self._up and bool(self._snapshot.tiers) and all(map(is_ready, self._snapshot.tiers))

    async def _until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds of the snapshot; return whether it does within a bound."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not holds():
                    self._changed.clear()
                    await self._changed.wait()
        return holds()

    # -- the tour

    async def _tour(self, url: str) -> None:
        begin = perf_counter()
        found: list[Result] = []
        async with httpx.AsyncClient(base_url=url, timeout=QUERY_SECONDS, trust_env=False) as http:
            for step in tour.STEPS:
                with self._console.status(f"{step.title}: {step.text}"):
                    found.append(await self._step(http, step))
        self._console.print(results.table(found))
        self._console.print(results.verdict(found, perf_counter() - begin), soft_wrap=True)
        self._console.print(results.next_steps(url), markup=False, highlight=False, soft_wrap=True)
        self.code = int(any(result.failures for result in found))

    async def _step(self, http: httpx.AsyncClient, step: Step) -> Result:
        if step.kind is Kind.KILLED:
            return await self._killed(http, step)
        if step.kind is Kind.BURST:
            return tour.judge(step, await queries.burst(http, step))
        ask = queries.chatted if step.kind is Kind.CHAT else queries.asked
        return tour.judge(step, [await ask(http, step)])

    async def _killed(self, http: httpx.AsyncClient, step: Step) -> Result:
        """Kill every process of the cheapest tier, ask, and wait until the tier is back."""
        cheapest = min(self._snapshot.tiers, key=lambda tier: tier.rank).name
        before = self._restarts(cheapest)
        urls = [e.url for t in self._snapshot.tiers if t.name == cheapest for e in t.endpoints]
        for pid in children.on_ports({url.rpartition(":")[2] for url in urls}):
            os.kill(pid, signal.SIGKILL)
        await asyncio.gather(*map(_closed, urls))
        answer = await queries.asked(http, step)

        def back() -> bool:
            now = self._restarts(cheapest)
            return self._all_ready() and all(now.get(name, 0) > was for name, was in before.items())

        returned = await self._until(back, BACK_SECONDS)
        late = () if returned else (f"{cheapest} was not back after {BACK_SECONDS:.0f} s",)
        return tour.judge(step, [answer], late)

    def _restarts(self, name: str) -> dict[str, int]:
        tiers = (tier for tier in self._snapshot.tiers if tier.name == name)
        return {endpoint.id: endpoint.restarts for tier in tiers for endpoint in tier.endpoints}


async def _closed(url: str) -> None:
    """Wait until nobody listens at a URL any more: a process that was killed takes its time."""
    address = httpx.URL(url)
    with suppress(TimeoutError, OSError):
        async with asyncio.timeout(GONE_SECONDS):
            while True:
                _, writer = await asyncio.open_connection(address.host, address.port)
                writer.close()
                await asyncio.sleep(LOOK_SECONDS)


def _free(port: int) -> int:
    """Return the first port from one on that nobody listens on."""
    for free in range(port, min(port + PORTS, 65_536)):
        if not ports.refusal(HOST, free):
            return free
    raise NotStarted(f"port {port} and those after it are taken; choose another with --port")


async def _while_running(server: asyncio.Task[None], part: Coroutine[None, None, None]) -> None:
    """Run a part of the demo until it ends or the server does; raise what the first one raised."""
    task = asyncio.ensure_future(part)
    try:
        done, _ = await asyncio.wait({server, task}, return_when=asyncio.FIRST_COMPLETED)
        for ended in done:
            ended.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
