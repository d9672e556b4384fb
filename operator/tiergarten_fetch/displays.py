"""How progress is shown: a bar for each file on a terminal, lines of JSON elsewhere."""

import json
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as RichProgress

from tiergarten_fetch.results import Doing, Progress


class Display(Protocol):
    """Shows progress inside `with`."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing."""

    def show(self, progress: Progress) -> None:
        """Show how far a file is."""


class Bars:
    """A bar for each file; local mode uses it too.

    Args:
        console: Where to draw.
    """

    def __init__(self, console: Console) -> None:
        self._bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[doing]}", markup=False),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        self._bars.stop()

    def show(self, progress: Progress) -> None:
        """Draw how far a file is."""
        if progress.file not in self._tasks:
            self._tasks[progress.file] = self._bars.add_task(progress.file, total=None, doing="")
        self._bars.update(
            self._tasks[progress.file],
            completed=progress.fetched_bytes,
            total=progress.total_bytes,
            doing=f"{progress.doing.value} {progress.note}".strip(),
        )


class Lines:
    """A line of JSON for each file now and then.

    Args:
        stream: Where to write.
        clock: Seconds that only go forward.
        pause_seconds: Least time between two lines about the same file in the same state.
    """

    def __init__(
        self, stream: TextIO, clock: Callable[[], float], pause_seconds: float = 1.0
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._pause_seconds = pause_seconds
        self._last: tuple[str, Doing] | None = None
        self._next = 0.0

    def __enter__(self) -> Self:
        """Begin to write."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop writing; nothing is held back."""

    def show(self, progress: Progress) -> None:
        """Write how far a file is, unless that was just written."""
        now, state = self._clock(), (progress.file, progress.doing)
        if state == self._last and now < self._next:
            return
        self._last, self._next = state, now + self._pause_seconds
        content: dict[str, str | int | None] = {
            "file": progress.file,
            "doing": progress.doing.value,
            "fetched_bytes": progress.fetched_bytes,
            "total_bytes": progress.total_bytes,
        }
        if progress.note:
            content["note"] = progress.note
        self.write(json.dumps(content))

    def write(self, text: str) -> None:
        """Write a line at once."""
        self._stream.write(f"{text}\n")
        self._stream.flush()


class Silence:
    """Shows nothing."""

    def __enter__(self) -> Self:
        """Begin to show nothing."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop showing nothing."""

    def show(self, progress: Progress) -> None:
        """Show nothing."""
