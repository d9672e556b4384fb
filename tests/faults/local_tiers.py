"""Short words for tests of local mode: tiers as YAML, edits, and the snapshots that follow."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import yaml

from tiergarten_router.core.snapshot import ReplicaState, Snapshot, Tier
from tiergarten_router.sources.local import LocalSource

READY = ReplicaState.READY


class Watched(Protocol):
    """What tells of changes and waits for a state."""

    def changed(self) -> None:
        """Tell of a change."""

    async def until(self, holds: Callable[[], object], seconds: float = 30) -> None:
        """Wait until something holds."""


Resource = dict[str, Any]


def tier(
    name: str, file: str | None = "a.gguf", source: Resource | None = None, **spec: object
) -> Resource:
    """Return a ModelTier, ranked as the digits of its name say."""
    model: Resource = {
        "name": "demo",
        "source": source or {"volume": {"claimName": "models"}},
        **({"files": [{"name": file}]} if file else {}),
    }
    defaults = {"routing": {"rank": int(name[1:])}, "rollout": {"drainTimeoutSeconds": 1}}
    return resource("ModelTier", name, {"model": model, **defaults, **spec})


def resource(kind: str, name: str, spec: Resource) -> Resource:
    """Return an object of Tiergarten's."""
    version = "tiergarten.dev/v1alpha1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def write(path: Path, *resources: Resource) -> None:
    """Write a file as an editor does: another file takes its name."""
    new = path.with_suffix(".new")
    new.write_text(yaml.safe_dump_all(resources))
    new.rename(path)


class Seen:
    """Every snapshot that was published, and waiting for the next.

    Args:
        watched: Told of each snapshot.
    """

    def __init__(self, watched: Watched) -> None:
        self.all: list[Snapshot] = []
        self._watched = watched

    def publish(self, snapshot: Snapshot) -> None:
        """Keep a snapshot."""
        self.all.append(snapshot)
        self._watched.changed()

    def has(self, name: str) -> bool:
        """Return whether the last snapshot has a tier."""
        return any(tier.name == name for tier in self.all[-1].tiers)

    def tier(self, name: str) -> Tier:
        """Return a tier of the last snapshot."""
        return next(tier for tier in self.all[-1].tiers if tier.name == name)

    def states(self, name: str) -> dict[str, ReplicaState]:
        """Return the state of each replica of a tier by its id."""
        return {endpoint.id: endpoint.state for endpoint in self.tier(name).endpoints}

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds of the last snapshot."""
        await self._watched.until(lambda: self.all and holds())

    async def until_ready(self, name: str, *ids: str) -> None:
        """Wait until a tier has exactly these replicas, all of them ready."""
        ready = dict.fromkeys(ids, READY)
        await self.until(lambda: self.has(name) and self.states(name) == ready)


@contextlib.asynccontextmanager
async def running(source: LocalSource, watched: Watched) -> AsyncIterator[Seen]:
    """Run a source and yield what it publishes."""
    seen = Seen(watched)
    task = asyncio.create_task(source.run(seen.publish))
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def pids_of(seen: Seen, name: str) -> set[int]:
    """Return the process ids of a tier's servers, by their ports."""
    ports = {e.url.rpartition(":")[2].encode() for e in seen.tier(name).endpoints}
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in children}
    return {int(pid) for pid, words in commands.items() if ports & set(words)}
