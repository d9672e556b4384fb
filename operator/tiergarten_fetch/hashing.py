"""Hashing files that take minutes: with progress, and stopped when its caller is cancelled."""

import asyncio
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tiergarten_fetch import threads
from tiergarten_fetch.results import Doing, Progress, Report

T = TypeVar("T")
PIECE = 1 << 20


class Stopped(Exception):
    """Nobody waits for the hash any more; never leaves this module's thread."""


class Hashing:
    """The progress of one file's hash, from a thread to the event loop.

    Args:
        name: The file's name, for progress.
        total_bytes: Its size, or None.
        report: Called in the event loop with how far it is.
    """

    def __init__(self, name: str, total_bytes: int | None, report: Report) -> None:
        self._name = name
        self._total_bytes = total_bytes
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()

    def hashed(self, there: int) -> None:
        """Hear, in the thread, how many bytes are hashed.

        Raises:
            Stopped: If nobody waits for them any more.
        """
        if self._stop.is_set():
            raise Stopped
        progress = Progress(self._name, there, self._total_bytes, Doing.CHECKING)
        self._loop.call_soon_threadsafe(self._report, progress)

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns; it calls `hashed` for each piece."""
        return await threads.run(work, self._stop.set)


def sha256_of(path: Path, hashed: Callable[[int], None]) -> str:
    """Return the sha256 of a file.

    Args:
        path: The file.
        hashed: Called with the bytes hashed so far; what it raises ends the work.
    """
    digest, there = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while piece := stream.read(PIECE):
            digest.update(piece)
            there += len(piece)
            hashed(there)
    return digest.hexdigest()
