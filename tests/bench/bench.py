"""Side by side with nginx: what the router costs for a query and for an event, as ratios.

    python tests/bench/bench.py [--rounds 3] [--seconds 4] [--json FILE]

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
PROXY_CORE, LOAD_CORE = 0, 1
SETTLE_SECONDS = 5


@dataclass(frozen=True)
class Scenario:
    """One kind of load.

    Attributes:
        name: What is counted, for people.
        arguments: Of the load generator.
        body: What is asked.
        interval_us: Pace of the stub's events, 0 for as fast as they are taken.
        ceiling: The ratio to nginx that the project has set itself.
    """

    name: str
    arguments: tuple[str, ...]
    body: dict[str, Any]
    interval_us: int
    ceiling: float


def chat(**fields: object) -> dict[str, Any]:
    """Return a body of about 574 bytes, the size that all published figures are for."""
    text = "Please tell me how a router decides which tier answers a question. " * 6
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}


SCENARIOS = (
    Scenario("non-streamed query, 32 clients", ("http",), chat(max_tokens=TOKENS), 0, 8),
    Scenario(
        "streamed query of 21 tokens, 32 clients",
        ("sse", "--per-query"),
        chat(max_tokens=TOKENS, stream=True),
        0,
        6,
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
        2,
    ),
)


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
        for _ in range(SETTLE_SECONDS * 20):
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

    def nginx(self) -> tuple[list[str], int]:
        """Return nginx' command and its port."""
        port = free_port()
        servers = " ".join(f"server 127.0.0.1:{upstream};" for upstream in self.upstreams)
        text = string.Template((HERE / "nginx.conf").read_text())
        config = self.folder / f"nginx-{port}.conf"
        config.write_text(text.substitute(upstreams=servers, port=port))
        return ["nginx", "-p", str(self.folder), "-c", str(config)], port

    def router(self) -> tuple[list[str], int]:
        """Return the router's command and its port."""
        port = free_port()
        ports = [str(upstream) for upstream in self.upstreams]
        return [sys.executable, str(HERE / "target.py"), str(port), *ports], port

    def measure(self, scenario: Scenario, target: Callable[[], tuple[list[str], int]]) -> Any:
        """Return what the load generator says of one target under one load."""
        command, port = target()
        pace = f"http://127.0.0.1:{self.upstreams[0]}/ctl?interval={scenario.interval_us}"
        urllib.request.urlopen(pace, timeout=SETTLE_SECONDS).close()
        body = self.folder / "body.json"
        body.write_text(json.dumps(scenario.body))
        with program(command, port, PROXY_CORE) as pid:
            load = ["taskset", "-c", str(LOAD_CORE), str(self.folder / "loadgen")]
            load += [*scenario.arguments, "--port", str(port), "--seconds", str(self.seconds)]
            load += ["--body", str(body), "--pids", family(pid)]
            told = subprocess.run(load, check=True, capture_output=True, text=True)
            sys.stderr.write(told.stderr)
        return json.loads(told.stdout)


def run(rounds: int, seconds: float) -> dict[str, dict[str, list[Any]]]:
    """Return every measurement by scenario and target."""
    found: dict[str, dict[str, list[Any]]] = {}
    with tempfile.TemporaryDirectory() as name, Progress(console=Console(stderr=True)) as progress:
        folder = Path(name)
        build(folder)
        ports = [free_port() for _ in range(UPSTREAMS)]
        stub = [str(folder / "stub"), *map(str, ports)]
        task = progress.add_task("measuring", total=rounds * len(SCENARIOS) * 2)
        with program(stub, ports[0], LOAD_CORE):
            bench = Bench(folder, ports, seconds)
            for _ in range(rounds):
                for scenario in SCENARIOS:
                    for target in (bench.nginx, bench.router):
                        cell = found.setdefault(scenario.name, {}).setdefault(target.__name__, [])
                        cell.append(bench.measure(scenario, target))
                        progress.advance(task)
    return found


def show(found: dict[str, dict[str, list[Any]]]) -> None:
    """Print the medians and the ratios."""
    table = Table(title="CPU microseconds, median of the rounds")
    for heading in ("what", "nginx", "router", "ratio", "set goal", "p50 ms +", "p99 ms +", "MiB"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for scenario in SCENARIOS:
        cells = found[scenario.name]

        def median(target: str, field: str, cells: dict[str, list[Any]] = cells) -> float:
            return float(statistics.median(cell[field] for cell in cells[target]))

        ratio = median("router", "cpu_us") / median("nginx", "cpu_us")
        added = [median("router", f) - median("nginx", f) for f in ("p50_ms", "p99_ms")]
        table.add_row(
            scenario.name,
            f"{median('nginx', 'cpu_us'):.1f}",
            f"{median('router', 'cpu_us'):.1f}",
            f"{ratio:.2f}x",
            f"<= {scenario.ceiling:g}x",
            *(f"{value:.2f}" for value in added),
            f"{median('router', 'rss_kib') / 1024:.0f}",
        )
    Console(width=120).print(table)
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
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    options = parser.parse_args()
    for tool in ("cc", "nginx", "taskset"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not here; on Debian: apt-get install gcc nginx-light util-linux")
    if (os.cpu_count() or 1) <= LOAD_CORE:
        sys.exit("two cores are needed: one for the proxies, one for the load")
    found = run(options.rounds, options.seconds)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    show(found)


if __name__ == "__main__":
    main()
