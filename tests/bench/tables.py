"""What the bench has measured, as tables beside the goals."""

import statistics
import sys
from math import inf
from typing import Any

from rich.console import Console
from rich.table import Table

import peers
from scenarios import FLEET, FLEETS, LATENCIES, MEMORY, MEMORY_CEILING_MIB, SCENARIOS

Row = dict[str, list[Any]]  # measurements by target
Found = dict[str, Row]


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


def rivals(found: Found) -> Table:
    """Return the table of CPU beside the other routers that took part."""
    names = peers.there()
    table = Table(title="CPU microseconds beside other routers, median of the rounds")
    table.add_column("what")
    for heading in (*names, "router", *(f"to {name}" for name in names), "set goal"):
        table.add_column(heading, justify="right")
    for scenario in SCENARIOS:
        if not scenario.peers:
            continue
        cells = found[scenario.name]
        ours = median(cells, "router", "cpu_us")
        theirs = [median(cells, name, "cpu_us") for name in names]
        goal = "" if scenario.peers_ceiling == inf else f"<= {scenario.peers_ceiling:g}x"
        ratios = [f"{ours / their:.2f}x" for their in theirs]
        table.add_row(scenario.name, *(f"{it:.1f}" for it in theirs), f"{ours:.1f}", *ratios, goal)
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
    if peers.there():
        console.print(rivals(found))
    if FLEET in found:
        console.print(delays(found))
        console.print(sizes(found))
    errors = sum(
        cell["errors"] for cells in found.values() for row in cells.values() for cell in row
    )
    if errors:
        sys.exit(f"{errors} answers were wrong; the figures mean nothing")
