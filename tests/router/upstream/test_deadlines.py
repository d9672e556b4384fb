"""One sweep for all time limits."""

import asyncio
import time
from math import inf

from tiergarten_router.upstream.deadlines import SWEEP_SECONDS, Deadline, Deadlines


def test_what_is_due_expires_once_and_the_rest_stays() -> None:
    deadlines, told = Deadlines(), []
    due, later, idle = (Deadline(lambda n=n: told.append(n)) for n in ("due", "later", "idle"))  # type: ignore[misc]  # a lambda's default has no type
    for deadline, at in ((due, 1.0), (later, 3.0), (idle, inf)):
        deadline.at = at
        deadlines.hold(deadline)

    deadlines.sweep(2.0)
    deadlines.sweep(2.5)

    assert told == ["due"]
    assert len(deadlines) == 3


def test_what_is_released_does_not_expire() -> None:
    deadlines, told = Deadlines(), []
    deadline = Deadline(lambda: told.append(1))
    deadline.at = 1.0
    deadlines.hold(deadline)

    deadlines.release(deadline)
    deadlines.sweep(2.0)

    assert told == []
    assert len(deadlines) == 0


async def test_the_sweep_keeps_a_limit_to_a_tenth_of_a_second() -> None:
    deadlines, loop, over = Deadlines(), asyncio.get_running_loop(), asyncio.Event()
    deadline = Deadline(over.set)
    deadline.at = loop.time() + 0.05
    deadlines.hold(deadline)
    sweep = asyncio.create_task(deadlines.run())

    begin = loop.time()
    await asyncio.wait_for(over.wait(), 2)

    assert 0.05 <= loop.time() - begin <= 0.05 + 3 * SWEEP_SECONDS
    sweep.cancel()


async def test_each_sweep_tells_how_late_it_came() -> None:
    deadlines, told, three = Deadlines(), list[float](), asyncio.Event()

    def late(lag: float) -> None:
        told.append(lag)
        if len(told) == 3:
            three.set()

    deadlines.on_sweep = late
    sweep = asyncio.create_task(deadlines.run())
    await asyncio.sleep(0)
    time.sleep(SWEEP_SECONDS + 0.2)  # noqa: ASYNC251 -- the loop is to lag
    await asyncio.wait_for(three.wait(), 5)
    sweep.cancel()

    assert told[0] >= 0.2
    assert min(told) >= 0
