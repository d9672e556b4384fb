"""Side by side with nginx: what the router costs for a query and for an event, as ratios.

    python tests/bench/bench.py [--rounds 3] [--seconds 4] [--costs] [--json FILE]

One interleaved run: scenario after scenario, round after round, target after target, and the median
of the rounds. The proxies run on one core, the stub upstream and the load generator, both in C, on
another. Absolute figures say little about another machine; the ratios do. Needs cc and nginx, and
measures the routers of `peers` where they are installed.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress

import peers
import tables
from scenarios import FLEET, FLEETS, LATENCIES, MEMORY, SCENARIOS, Scenario, chat
from tables import Found

HERE = Path(__file__).parent
LOADGEN = ("loadgen", "events", "options", "process", "response", "samples")
STUB = ("stub", "channel", "replies", "request", "timers")
UPSTREAMS = 2
PROXY_CORE, LOAD_CORE = 0, 1
SETTLE_SECONDS = 5
START_SECONDS = 30  # a Python program takes one, if the machine is ours alone

Target = tuple[list[str], int]  # a command, and the port where it listens


def build(folder: Path) -> None:
    """Compile the load generator and the stub."""
    for name, sources in (("loadgen", LOADGEN), ("stub", STUB)):
        files = [str(HERE / f"{source}.c") for source in sources]
        command = ["cc", "-O2", "-std=gnu11", "-o", str(folder / name), *files, "-lm"]
        subprocess.run(command, check=True)


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def program(command: list[str], port: int, core: int) -> Iterator[int]:
    """Run a program pinned to a core until the block ends; yield its pid once it listens."""
    process = subprocess.Popen(["taskset", "-c", str(core), *command])  # noqa: S607 -- our own programs
    try:
        for _ in range(START_SECONDS * 20):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
                sys.exit(f"{command[0]} ended with status {process.returncode}")
        yield process.pid
    finally:
        process.terminate()
        process.wait(SETTLE_SECONDS * 2)


def wait_for_answer(port: int) -> None:
    """Wait until a proxy has found its upstreams; its port may be open before."""
    url, end = f"http://127.0.0.1:{port}/v1/chat/completions", time.monotonic() + START_SECONDS
    while True:
        try:
            httpx.post(url, json=chat(max_tokens=1), timeout=SETTLE_SECONDS).raise_for_status()
        except httpx.HTTPError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def family(pid: int) -> str:
    """Return a process and its children as the load generator takes them."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return ",".join([str(pid), *children])


@dataclass(frozen=True)
class Bench:
    """Everything that a measurement needs."""

    folder: Path
    upstreams: list[int]
    seconds: float
    costs_only: bool

    def nginx(self) -> Target:
        """Return nginx' command and its port."""
        port = free_port()
        servers = " ".join(f"server 127.0.0.1:{upstream};" for upstream in self.upstreams)
        text = string.Template((HERE / "nginx.conf").read_text())
        config = self.folder / f"nginx-{port}.conf"
        config.write_text(text.substitute(upstreams=servers, port=port))
        return ["nginx", "-p", str(self.folder), "-c", str(config)], port

    def router(self, endpoints: int = UPSTREAMS) -> Target:
        """Return the router's command and its port."""
        port = free_port()
        ports = [str(upstream) for upstream in self.upstreams]
        command = [sys.executable, str(HERE / "target.py"), "--endpoints", str(endpoints)]
        return [*command, str(port), *ports], port

    def peer(self, name: str) -> Target:
        """Return the command of another router and its port."""
        port = free_port()
        return peers.command(name, port, free_port(), self.upstreams), port

    def direct(self) -> Target:
        """Return no command, and the port of an upstream."""
        return [], self.upstreams[0]

    def measure(self, scenario: Scenario, target: Callable[[], Target]) -> Any:
        """Return what the load generator says of one target under one load."""
        command, port = target()
        pace = f"http://127.0.0.1:{self.upstreams[0]}/ctl?interval={scenario.interval_us}"
        httpx.get(pace, timeout=SETTLE_SECONDS).raise_for_status()
        body = self.folder / "body.json"
        body.write_text(json.dumps(scenario.body))
        load = ["taskset", "-c", str(LOAD_CORE), str(self.folder / "loadgen")]
        load += [*scenario.arguments, "--port", str(port), "--seconds", str(self.seconds)]
        load += ["--body", str(body)]
        with contextlib.ExitStack() as running:
            if command:
                pid = running.enter_context(program(command, port, PROXY_CORE))
                wait_for_answer(port)
                load += ["--pids", family(pid)]
            told = subprocess.run(load, check=True, capture_output=True, text=True)
            sys.stderr.write(told.stderr)
        return json.loads(told.stdout)

    def proxies(self, scenario: Scenario) -> Iterator[tuple[str, Callable[[], Target]]]:
        """Yield what a load is put on."""
        yield "nginx", self.nginx
        yield "router", self.router
        if scenario.peers:
            yield from ((name, partial(self.peer, name)) for name in peers.there())

    def plan(self) -> Iterator[tuple[str, Scenario, str, Callable[[], Target]]]:
        """Yield what one round measures: a cell's row and column, its load and its target."""
        for scenario in SCENARIOS:
            for name, target in self.proxies(scenario):
                yield scenario.name, scenario, name, target
        if self.costs_only:
            return
        for latency in LATENCIES:
            for target in (self.direct, self.nginx, self.router):
                yield latency.scenario.name, latency.scenario, target.__name__, target
        for target in (self.nginx, self.router):
            yield MEMORY.name, MEMORY, target.__name__, target
        for endpoints in FLEETS:
            yield FLEET, SCENARIOS[1], str(endpoints), partial(self.router, endpoints)


def run(rounds: int, seconds: float, *, costs_only: bool) -> Found:
    """Return every measurement by scenario and target."""
    found: Found = {}
    with tempfile.TemporaryDirectory() as name, Progress(console=Console(stderr=True)) as progress:
        folder = Path(name)
        build(folder)
        ports = [free_port() for _ in range(UPSTREAMS)]
        stub = [str(folder / "stub"), *map(str, ports)]
        with program(stub, ports[0], LOAD_CORE):
            bench = Bench(folder, ports, seconds, costs_only)
            task = progress.add_task("measuring", total=rounds * len(list(bench.plan())))
            for _ in range(rounds):
                for row, scenario, column, target in bench.plan():
                    cell = found.setdefault(row, {}).setdefault(column, [])
                    cell.append(bench.measure(scenario, target))
                    progress.advance(task)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--costs", action="store_true", help="measure CPU only")
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    options = parser.parse_args()
    for tool in ("cc", "nginx", "taskset"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not here; on Debian: apt-get install gcc nginx-light util-linux")
    if (os.cpu_count() or 1) <= LOAD_CORE:
        sys.exit("two cores are needed: one for the proxies, one for the load")
    found = run(options.rounds, options.seconds, costs_only=options.costs)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    tables.show(found)


if __name__ == "__main__":
    main()
