"""What the benches of a whole cluster share: waiting, asking, and a look at a process."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx

LONGEST_SECONDS = 600
PAUSE_SECONDS = 0.25
EDITS_PER_SECOND = 20
MERGE = {"Content-Type": "application/merge-patch+json"}


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
