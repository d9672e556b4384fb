"""Work in threads ends before whoever asked for it goes on."""

import asyncio
import threading

import pytest

from tiergarten_fetch import threads


async def test_it_returns_what_the_work_returns_and_raises_what_it_raises():
    assert await threads.run(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 / 0)


async def test_a_cancelled_caller_waits_for_the_work_to_end():
    begun, go_on = threading.Event(), threading.Event()
    ended: list[bool] = []

    def work() -> None:
        begun.set()
        ended.append(go_on.wait(5))

    stopped: list[bool] = []
    task = asyncio.create_task(threads.run(work, lambda: stopped.append(True)))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ended == stopped == [True]
