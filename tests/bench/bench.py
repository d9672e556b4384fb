"""Side by side with nginx: what the router costs for a query and for an event, as ratios.

    python tests/bench/bench.py [--rounds 3] [--seconds 4] [--costs] [--json FILE]

One interleaved run: scenario after scenario, round after round, target after target, and the median
of the rounds. The proxies run on one core, the stub upstream and the load generator, both in C, on
another. Absolute figures say little about another machine; the ratios do. Needs cc and nginx.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import string
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

HERE = Path(__file__).parent
LOADGEN = ("loadgen", "events", "options", "process", "response", "samples")
STUB = ("stub", "channel", "replies", "request", "timers")
UPSTREAMS = 2
TOKENS = 21
FLEET = "streamed query over endpoints"
PROXY_CORE, LOAD_CORE = 0, 1
SETTLE_SECONDS = 5
START_SECONDS = 30  # a Python program takes one, if the machine is ours alone

Row = dict[str, list[Any]]  # measurements by target
Found = dict[str, Row]


@dataclass(frozen=True)
class Scenario:
    """One kind of load.

    Attributes:
        name: What is counted, for people.
        arguments: Of the load generator.
        body: What is asked.
        interval_us: Pace of the stub's events, 0 for as fast as they are taken.
        ceiling: The ratio to nginx that the project has set itself; of latencies see `Latency`.
    """

    name: str
    arguments: tuple[str, ...]
    body: dict[str, Any]
    interval_us: int
    ceiling: float = 0.0


@dataclass(frozen=True)
class Latency:
    """What a proxy adds to the same load without one, in milliseconds.

    Attributes:
        scenario: The load.
        fields: The load generator's names of the median and of the 99th percentile.
        ceilings: What the project has set itself for each; inf for nothing.
    """

    scenario: Scenario
    fields: tuple[str, str]
    ceilings: tuple[float, float]


def chat(**fields: object) -> dict[str, Any]:
    """Return a body of about 574 bytes, the size that all published figures are for."""
    text = "Please tell me how a router decides which tier answers a question. " * 6
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}


SCENARIOS = (
    Scenario("non-streamed query, 32 clients", ("http",), chat(max_tokens=TOKENS), 0, 6),
    Scenario(
        "streamed query of 21 tokens, 32 clients",
        ("sse", "--per-query"),
        chat(max_tokens=TOKENS, stream=True),
        0,
        4,
    ),
    Scenario(
        "query from the cache, 32 clients",
        ("http",),
        chat(max_tokens=TOKENS, temperature=0),
        0,
        2,
    ),
    Scenario(
        "event of 100 streams x 50/s",
        ("sse", "--connections", "100", "--ramp", "2", "--warm-up", "1"),
        chat(max_tokens=100_000, stream=True),
        20_000,
        1.6,
    ),
)
WHOLE = ("p50_ms", "p99_ms")
LATENCIES = (
    Latency(
        Scenario(
            "whole answer, 256 clients, 500 ms upstream",
            ("sse", "--per-query", "--connections", "256", "--ramp", "1", "--warm-up", "1"),
            chat(max_tokens=1, stream=True),
            500_000,
        ),
        WHOLE,
        (inf, 1.5),
    ),
    Latency(
        Scenario(
            "first event, 32 clients, 20 ms upstream",
            ("sse", "--per-query"),
            chat(max_tokens=TOKENS, stream=True),
            20_000,
        ),
        ("first_p50_ms", "first_p99_ms"),
        (0.5, 1.0),
    ),
)
MEMORY = Scenario(
    "1,000 streams x 4/s",
    ("sse", "--connections", "1000", "--ramp", "2", "--warm-up", "2"),
    chat(max_tokens=100_000, stream=True),
    250_000,
)
MEMORY_CEILING_MIB = 100
FLEETS = (1, 100, 10_000)


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

    def nginx(self) -> tuple[list[str], int]:
        """Return nginx' command and its port."""
        port = free_port()
        servers = " ".join(f"server 127.0.0.1:{upstream};" for upstream in self.upstreams)
        text = string.Template((HERE / "nginx.conf").read_text())
        config = self.folder / f"nginx-{port}.conf"
        config.write_text(text.substitute(upstreams=servers, port=port))
        return ["nginx", "-p", str(self.folder), "-c", str(config)], port

    def router(self, endpoints: int = UPSTREAMS) -> tuple[list[str], int]:
        """Return the router's command and its port."""
        port = free_port()
        ports = [str(upstream) for upstream in self.upstreams]
        command = [sys.executable, str(HERE / "target.py"), "--endpoints", str(endpoints)]
        return [*command, str(port), *ports], port

    def direct(self) -> tuple[list[str], int]:
        """Return no command, and the port of an upstream."""
        return [], self.upstreams[0]

    def measure(self, scenario: Scenario, target: Callable[[], tuple[list[str], int]]) -> Any:
        """Return what the load generator says of one target under one load."""
        command, port = target()
        pace = f"http://127.0.0.1:{self.upstreams[0]}/ctl?interval={scenario.interval_us}"
        urllib.request.urlopen(pace, timeout=SETTLE_SECONDS).close()
        body = self.folder / "body.json"
        body.write_text(json.dumps(scenario.body))
        load = ["taskset", "-c", str(LOAD_CORE), str(self.folder / "loadgen")]
        load += [*scenario.arguments, "--port", str(port), "--seconds", str(self.seconds)]
        load += ["--body", str(body)]
        with contextlib.ExitStack() as running:
            if command:
                pid = running.enter_context(program(command, port, PROXY_CORE))
                load += ["--pids", family(pid)]
            told = subprocess.run(load, check=True, capture_output=True, text=True)
            sys.stderr.write(told.stderr)
        return json.loads(told.stdout)

    def plan(self) -> Iterator[tuple[str, Scenario, str, Callable[[], tuple[list[str], int]]]]:
        """Yield what one round measures: a cell's row and column, its load and its target."""
        for scenario in SCENARIOS:
            for target in (self.nginx, self.router):
                yield scenario.name, scenario, target.__name__, target
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


def median(cells: Row, target: str, field: str) -> float:
    """Return the median of the rounds."""
    return float(statistics.median(cell[field] for cell in cells[target]))


def costs(found: Found) -> Table:
    """Return the table of CPU."""
    table = Table(title="CPU microseconds, median of the rounds")
    for heading in ("what", "nginx", "router", "ratio", "set goal", "MiB"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for scenario in SCENARIOS:
        cells = found[scenario.name]
        nginx, router = (median(cells, target, "cpu_us") for target in ("nginx", "router"))
        table.add_row(
            scenario.name,
            f"{nginx:.1f}",
            f"{router:.1f}",
            f"{router / nginx:.2f}x",
            f"<= {scenario.ceiling:g}x",
            f"{median(cells, 'router', 'rss_kib') / 1024:.0f}",
        )
    return table


def delays(found: Found) -> Table:
    """Return the table of what proxies add."""
    table = Table(title="Milliseconds added, 50th and 99th percentile, median of the rounds")
    for heading in ("what", "nginx p50", "p99", "router p50", "p99", "set goal p50", "p99"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for latency in LATENCIES:
        cells = found[latency.scenario.name]
        added = [
            median(cells, target, field) - median(cells, "direct", field)
            for target in ("nginx", "router")
            for field in latency.fields
        ]
        goals = ("" if ceiling == inf else f"<= {ceiling:g}" for ceiling in latency.ceilings)
        table.add_row(latency.scenario.name, *(f"{value:.2f}" for value in added), *goals)
    return table


def sizes(found: Found) -> Table:
    """Return the table of memory and of what the number of endpoints costs."""
    table = Table(title="Size")
    for heading in ("what", "router", "set goal"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    mib = median(found[MEMORY.name], "router", "rss_kib") / 1024
    table.add_row(f"MiB with {MEMORY.name}", f"{mib:.0f}", f"<= {MEMORY_CEILING_MIB}")
    cells = found[FLEET]
    first = median(cells, str(FLEETS[0]), "cpu_us")
    for endpoints in FLEETS:
        ratio = median(cells, str(endpoints), "cpu_us") / first
        table.add_row(f"CPU a query with {endpoints:,} endpoints", f"{ratio:.2f}x", "<= 1.2x")
    return table


def show(found: Found) -> None:
    """Print the medians and the ratios."""
    console = Console(width=120)
    console.print(costs(found))
    if FLEET in found:
        console.print(delays(found))
        console.print(sizes(found))
    errors = sum(
        cell["errors"] for cells in found.values() for row in cells.values() for cell in row
    )
    if errors:
        sys.exit(f"{errors} answers were wrong; the figures mean nothing")


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
    show(found)


if __name__ == "__main__":
    main()
