"""A change of a file is noticed however an editor makes it, and other files are not."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from tiergarten_router.sources.watch import stamp, watch


@contextlib.asynccontextmanager
async def watching(*files):
    changes: asyncio.Queue[None] = asyncio.Queue()
    task = asyncio.create_task(watch(files, lambda: changes.put_nowait(None), 60))
    try:
        await started(files[0], changes)
        yield changes
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def started(file, changes):
    """Touch a file until that is noticed: a watch says nothing when it begins."""
    async with asyncio.timeout(10):
        while changes.empty():
            file.touch()
            await asyncio.sleep(0.05)
    with contextlib.suppress(TimeoutError):  # what is left of those touches
        while True:
            await asyncio.wait_for(changes.get(), 0.5)


def write(file):
    file.write_text("b: 2")


def replace(file):
    file.with_name("new").write_text("b: 2")
    file.with_name("new").rename(file)


def remove_and_write(file):
    file.unlink()
    file.write_text("b: 2")


@pytest.mark.parametrize("edit", [write, replace, remove_and_write])
async def test_an_edit_is_noticed_and_the_one_after_it_too(tmp_path, edit):
    file = tmp_path / "tiers.yaml"
    file.write_text("a: 1")
    async with watching(file) as changes:
        for _ in range(2):
            edit(file)
            await asyncio.wait_for(changes.get(), 10)


async def test_a_file_behind_a_link_is_watched_where_it_is(tmp_path):
    (tmp_path / "there").mkdir()
    file, link = tmp_path / "there/tiers.yaml", tmp_path / "tiers.yaml"
    file.write_text("a: 1")
    link.symlink_to(file)
    async with watching(link) as changes:
        write(file)
        await asyncio.wait_for(changes.get(), 10)


async def test_other_files_of_the_folder_are_none_of_its_business(tmp_path):
    file = tmp_path / "tiers.yaml"
    file.write_text("a: 1")
    async with watching(file) as changes:
        write(tmp_path / "other.yaml")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(changes.get(), 1)


async def test_it_is_looked_now_and_then_where_no_change_is_told(tmp_path):
    looks: asyncio.Queue[None] = asyncio.Queue()
    file = tmp_path / "tiers.yaml"
    file.touch()
    task = asyncio.create_task(watch([file], lambda: looks.put_nowait(None), 0.1))

    for _ in range(3):
        await asyncio.wait_for(looks.get(), 10)

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_folder_that_cannot_be_watched_is_looked_at(tmp_path):
    looks: asyncio.Queue[None] = asyncio.Queue()
    file = tmp_path / "none/tiers.yaml"
    task = asyncio.create_task(watch([file], lambda: looks.put_nowait(None), 0.05))

    for _ in range(3):
        await asyncio.wait_for(looks.get(), 10)

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("edit", [write, replace, remove_and_write, Path.touch, Path.unlink])
def test_a_stamp_is_another_after_any_change(tmp_path, edit):
    file, other = tmp_path / "tiers.yaml", tmp_path / "other.yaml"
    file.write_text("a: 1")
    os.utime(file, ns=(0, 0))
    before = stamp([file, other])
    assert stamp([file, other]) == before

    edit(file)

    assert stamp([file, other]) != before
