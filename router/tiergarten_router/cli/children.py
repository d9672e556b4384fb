"""Finds the processes that this one has started, by what the kernel says of them."""

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


def on_ports(ports: Collection[str]) -> list[int]:
    """Return the pids of this process's children that were started with `--port` and one of these.

    Args:
        ports: The ports, as they are written on a command line.
    """
    return [pid for pid, words in _children() if dict(pairwise(words)).get("--port") in ports]


def _children() -> Iterator[tuple[int, list[str]]]:
    """Yield pid and command line of each child; not all kernels keep a list of them."""
    for entry in _PROC.glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                yield int(entry.name), words
