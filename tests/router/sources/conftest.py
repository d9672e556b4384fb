"""What tests of local mode start: a scripted llama-server as a program, and a real one."""

import asyncio
import os
import select
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ggufs import gguf_file
from tiergarten_router.sources.template import Template

FAULTS = Path(__file__).parents[2] / "faults"


class Watched:
    """Something that tells of its changes: `changed` is its callback, `until` waits for a state."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def changed(self) -> None:
        self._event.set()

    async def until(self, holds: Callable[[], object], seconds: float = 30) -> None:
        async with asyncio.timeout(seconds):
            while not holds():
                self._event.clear()
                await self._event.wait()


class Deaths:
    """Processes whose end is waited for; they need not be our children."""

    def __init__(self) -> None:
        self._files: dict[int, int] = {}

    def watch(self, pid: int) -> None:
        self._files[pid] = os.pidfd_open(pid)

    def alive(self, pid: int) -> bool:
        return not select.select([self._files[pid]], [], [], 0)[0]

    async def of(self, pid: int, seconds: float = 20) -> bool:
        """Return whether a process ends within the bound."""
        file = self._files[pid]
        return bool((await asyncio.to_thread(select.select, [file], [], [], seconds))[0])

    def close(self) -> None:
        for file in self._files.values():
            os.close(file)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def deaths():
    found = Deaths()
    yield found
    found.close()


PROGRAM = (sys.executable, str(Path(__file__).with_name("stand_in.py")), str(FAULTS))


@pytest.fixture
def stand_in() -> Callable[..., Template]:
    """Return the template of a scripted llama-server, by its options."""

    def template(*options: str) -> Template:
        return Template((*PROGRAM, *options, "--port", "0"))

    return template


@pytest.fixture
def server() -> tuple[str, ...]:
    """Return how a scripted llama-server is started."""
    return PROGRAM


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the small model files `a.gguf` and `b.gguf`."""
    found = tmp_path / "models"
    found.mkdir()
    for seed, name in enumerate(("a.gguf", "b.gguf")):
        (found / name).write_bytes(gguf_file(blocks=40, seed=seed))
    return found
