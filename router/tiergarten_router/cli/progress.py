"""How far fetching and loading are, on the terminal: a bar for each tier while it is not ready."""

from types import TracebackType
from typing import Self

from rich import progress
from rich.console import Console

from tiergarten_router.core.snapshot import ReplicaState, Snapshot, Tier


class Progress:
    """Bars on a terminal, lines elsewhere.

    Args:
        console: Where they are shown.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.TextColumn("{task.fields[state]}"),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, progress.TaskID] = {}
        self._told: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Show what a snapshot says."""
        for tier in snapshot.tiers:
            line = describe(tier)
            if self._told.get(tier.name) == line:
                continue
            self._told[tier.name] = line
            if self._console.is_terminal:
                self._move(tier, line)
            elif tier.status.reason != "Fetching":  # a line for each part would be too many
                self._console.print(f"{tier.name}: {line}", markup=False, highlight=False)

    def _move(self, tier: Tier, line: str) -> None:
        done = is_ready(tier)
        task = self._tasks.get(tier.name)
        if task is None:
            task = self._tasks[tier.name] = self._bars.add_task(tier.name, total=None, state=line)
        total = tier.status.total_bytes if tier.status.reason == "Fetching" else None
        self._bars.update(
            task,
            state=line,
            total=1 if done else total,
            completed=1 if done else tier.status.fetched_bytes or 0,
            visible=not done,
        )
        if done:
            self._console.print(f"{tier.name}: {line}", markup=False, highlight=False)


def is_ready(tier: Tier) -> bool:
    """Return whether every replica of a tier is ready, and it has one."""
    states = {endpoint.state for endpoint in tier.endpoints}
    return states == {ReplicaState.READY}


def describe(tier: Tier) -> str:
    """Return a tier's state in a line."""
    if tier.status.reason == "Fetching" and tier.status.total_bytes:
        share = (tier.status.fetched_bytes or 0) / tier.status.total_bytes
        return f"fetching {share:.0%} of {tier.status.total_bytes / 1e6:.0f} MB"
    ready = sum(endpoint.state is ReplicaState.READY for endpoint in tier.endpoints)
    if is_ready(tier):
        return f"ready, {ready} of {ready} replicas"
    known = f", {ready} of {len(tier.endpoints)} replicas ready" if tier.endpoints else ""
    why = tier.status.message or next((e.message for e in tier.endpoints if e.message), "")
    return f"{tier.status.reason}{known}{': ' if why else ''}{why}"
