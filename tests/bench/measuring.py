"""What the benches of a whole cluster share: a cluster, edits, waiting, and a look at a process."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import httpx
from rich.console import Console
from rich.table import Table

from kit import lifecycle
from kit.cluster import Cluster

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LONGEST_SECONDS = 600
PAUSE_SECONDS = 0.25
EDITS_PER_SECOND = 20

Found = TypeVar("Found", bound="DataclassInstance")


def on_a_cluster(name: str, measure: Callable[[Cluster], Found], file: Path | None) -> Found:
    """Measure on a cluster of level 1 of our own, and write the figures to a file if one is named.

    Args:
        name: The cluster's.
        measure: Returns the figures.
        file: Where they are kept, as JSON.
    """
    folder = lifecycle.CLUSTERS / f"{name}-{os.getpid()}"
    try:
        with lifecycle.up(folder, 1) as cluster:
            found = measure(cluster)
    finally:
        lifecycle.down(folder)
    if file:
        file.write_text(json.dumps(asdict(found)))
    return found


def show(title: str, rows: Iterable[tuple[str, str, str]]) -> None:
    """Print what was measured beside the goals."""
    table = Table(title=title)
    for heading in ("what", "measured", "set goal"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=80).print(table)


def churn(seconds: float, edit: Callable[[], None]) -> int:
    """Edit again and again for so many seconds, and return how often that was."""
    made, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        edit()
        made += 1
        time.sleep(1 / EDITS_PER_SECOND)
    return made


def ask(url: str) -> httpx.Response | None:
    """Return what the operator answers, or None while it does not."""
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url, timeout=60)
    return None


def seconds_until(what: str, holds: Callable[[], bool]) -> float:
    """Return how long it took until something held."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > LONGEST_SECONDS:
            sys.exit(f"gave up waiting for {what}")
        time.sleep(PAUSE_SECONDS)
    return time.monotonic() - began


def mib(process: subprocess.Popen[bytes]) -> float:
    """Return a process's resident memory."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
