"""A lock between processes that know of each other only by files."""

import asyncio
import os
from pathlib import Path

import pytest

from tiergarten_fetch import locks
from tiergarten_fetch.errors import Busy
from tiergarten_fetch.locks import Lock, Pace

PACE = Pace(beat_seconds=0.02, stale_seconds=0.4, look_seconds=0.01, wait_seconds=5.0)
PATIENCE = Pace(beat_seconds=0.02, stale_seconds=30.0, look_seconds=0.01, wait_seconds=0.1)


def nothing() -> None:
    """Hear that one waits."""


def stale(path: Path, text: str = "dead") -> None:
    path.write_text(text)
    os.utime(path, (1, 1))


async def test_many_never_hold_it_at_once_and_leave_nothing_behind(tmp_path: Path):
    inside, most, done = 0, 0, 0

    async def work() -> None:
        nonlocal inside, most, done
        async with Lock(tmp_path / "lock", PACE).held(nothing):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1
            done += 1

    await asyncio.gather(*(work() for _ in range(20)))

    assert (most, done) == (1, 20)
    assert not os.listdir(tmp_path)  # noqa: PTH208 # pathlib would be refused in async code


async def test_a_lock_that_is_touched_is_not_taken_over(tmp_path: Path):
    pace = Pace(beat_seconds=0.02, stale_seconds=0.3, look_seconds=0.01, wait_seconds=0.9)
    async with Lock(tmp_path / "lock", pace).held(nothing):
        with pytest.raises(Busy, match=r"held by another fetch for 0\.9 s"):
            async with Lock(tmp_path / "lock", pace).held(nothing):
                pass


@pytest.mark.parametrize("text", ["dead", "", "../../etc/passwd", "\udcff\udcff"])
async def test_a_lock_that_nobody_touches_is_taken_over_whatever_it_holds(
    text: str, tmp_path: Path
):
    path = tmp_path / "lock"
    path.write_bytes(text.encode(errors="surrogateescape"))
    os.utime(path, (1, 1))
    lock = Lock(path, PACE)

    async with lock.held(nothing):
        assert lock.owned

    assert not os.listdir(tmp_path)  # noqa: PTH208 # pathlib would be refused in async code


async def test_a_dead_one_of_this_machine_is_known_at_once(tmp_path: Path):
    (tmp_path / "lock").write_text(f"dead.{locks.machine()}")
    lock = Lock(tmp_path / "lock", PATIENCE)

    async with lock.held(nothing):
        assert lock.owned


async def test_a_living_one_of_this_machine_is_not_thought_dead(tmp_path: Path):
    async with Lock(tmp_path / "lock", PATIENCE).held(nothing):
        with pytest.raises(Busy):
            async with Lock(tmp_path / "lock", PATIENCE).held(nothing):
                pass


def test_a_machine_that_does_not_tell_its_boot_is_like_no_other(tmp_path: Path):
    assert locks.machine() == locks.machine()
    assert locks.machine(tmp_path / "none") != locks.machine(tmp_path / "none")


async def test_only_one_of_many_takes_a_dead_ones_lock_over_at_a_time(tmp_path: Path):
    stale(tmp_path / "lock")
    inside, most = 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with Lock(tmp_path / "lock", PACE).held(nothing):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(10)))

    assert most == 1


async def test_a_takeover_that_died_half_way_is_taken_over_too(tmp_path: Path):
    stale(tmp_path / "lock")
    stale(tmp_path / "lock.dead", "also dead")
    lock = Lock(tmp_path / "lock", PACE)

    async with lock.held(nothing):
        assert lock.owned


async def test_a_takeover_that_is_under_way_is_waited_for(tmp_path: Path):
    stale(tmp_path / "lock")
    (tmp_path / "lock.dead").write_text("at work")

    with pytest.raises(Busy):
        async with Lock(tmp_path / "lock", PATIENCE).held(nothing):
            pass


async def test_one_that_lost_its_lock_knows_and_does_not_give_up_the_others(tmp_path: Path):
    path = tmp_path / "lock"
    lock = Lock(path, PACE)

    async with lock.held(nothing):
        path.write_text("other")
        assert not lock.owned

    assert path.read_text() == "other"


async def test_one_that_is_being_replaced_leaves_its_lock_to_the_other(tmp_path: Path):
    path = tmp_path / "lock"

    async with Lock(path, PACE).held(nothing):
        owner = path.read_text()
        (tmp_path / f"lock.{owner}").touch()

    assert path.read_text() == owner


async def test_a_lock_file_that_somebody_deleted_stops_neither_beats_nor_release(tmp_path: Path):
    path = tmp_path / "lock"
    lock = Lock(path, PACE)

    async with lock.held(nothing):
        path.unlink()
        await asyncio.sleep(3 * PACE.beat_seconds)
        assert not lock.owned

    assert not path.exists()


async def test_waiting_is_told_each_time(tmp_path: Path):
    heard = asyncio.Event()

    async def second() -> None:
        async with Lock(tmp_path / "lock", PACE).held(heard.set):
            pass

    async with Lock(tmp_path / "lock", PACE).held(nothing):
        waiting = asyncio.create_task(second())
        await asyncio.wait_for(heard.wait(), 5)
    await waiting
