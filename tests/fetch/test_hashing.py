"""Hashes that tell how far they are and end when nobody waits for them."""

import asyncio
import hashlib
import threading
from pathlib import Path

import pytest

from tiergarten_fetch.hashing import PIECE, Hashing, sha256_of
from tiergarten_fetch.results import Doing, Progress


async def test_a_hash_tells_how_far_it_is(tmp_path: Path):
    content = bytes(2 * PIECE + 1)
    (tmp_path / "file").write_bytes(content)
    seen: list[Progress] = []
    hashing = Hashing("file", len(content), seen.append)

    found = await hashing.run(lambda: sha256_of(tmp_path / "file", hashing.hashed))
    await asyncio.sleep(0)  # progress comes by the loop

    assert found == hashlib.sha256(content).hexdigest()
    sizes = [PIECE, 2 * PIECE, len(content)]
    assert seen == [Progress("file", size, len(content), Doing.CHECKING) for size in sizes]


async def test_a_hash_ends_early_when_its_caller_is_cancelled(tmp_path: Path):
    (tmp_path / "file").write_bytes(bytes(5 * PIECE))
    begun, go_on = threading.Event(), threading.Event()
    sizes: list[int] = []
    hashing = Hashing("file", None, lambda _progress: None)

    def hashed(size: int) -> None:
        begun.set()
        go_on.wait(5)
        hashing.hashed(size)
        sizes.append(size)

    task = asyncio.create_task(hashing.run(lambda: sha256_of(tmp_path / "file", hashed)))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    await asyncio.sleep(0)  # the cancellation reaches the task
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert sizes == []
