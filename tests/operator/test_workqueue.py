"""Keys once each, one worker a key, back-off on failure; time is the test's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_operator.errors import Unreachable
from tiergarten_operator.workqueue import Backoff, Failure, WorkQueue


@dataclass
class Time:
    """A clock that goes only when a test says so."""

    now: float = 0.0
    sleeps: list[tuple[float, asyncio.Event]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self.sleeps.append((self.now + seconds, event))
        await event.wait()

    async def go(self, seconds: float) -> None:
        await settle()
        self.now += seconds
        for due, event in self.sleeps:
            if due <= self.now:
                event.set()
        await settle()


@dataclass
class Work:
    """Works on keys as a test says, and notes what it did."""

    done: list[str] = field(default_factory=list)
    answers: dict[str, list[float | Exception | None]] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    running: set[str] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)

    async def __call__(self, key: str) -> float | None:
        assert key not in self.running
        self.running.add(key)
        try:
            await self.gate.wait()
            self.done.append(key)
            answers = self.answers.get(key)
            answer = answers.pop(0) if answers else None
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.running.discard(key)

    def failed(self, _key: str, failure: Failure) -> None:
        self.failures.append(failure)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def working(
    work: Work, workers: int = 2, *, held: bool = False
) -> AsyncIterator[tuple[WorkQueue[str], Time]]:
    time = Time()
    queue: WorkQueue[str] = WorkQueue(time.clock, time.sleep)
    if not held:
        work.gate.set()
    task = asyncio.create_task(queue.run(work, workers, work.failed))
    try:
        yield queue, time
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_key_that_is_added_often_is_worked_on_once() -> None:
    work = Work()
    async with working(work) as (queue, _):
        for _ in range(3):
            queue.add("a")
        assert len(queue) == 1
        await settle()

    assert work.done == ["a"]


async def test_a_key_that_is_added_while_it_is_worked_on_comes_once_more() -> None:
    work = Work()
    async with working(work, held=True) as (queue, _):
        queue.add("a")
        await settle()
        queue.add("a")
        queue.add("a")
        await settle()
        assert work.running == {"a"}  # one worker a key
        work.gate.set()
        await settle()

    assert work.done == ["a", "a"]


async def test_a_key_that_fails_comes_back_later_and_later_until_it_does_not() -> None:
    work = Work(answers={"a": [ValueError(), ValueError(), None, ValueError()]})
    async with working(work) as (queue, time):
        queue.add("a")
        await time.go(0.9)
        assert len(work.done) == 1
        await time.go(0.2)
        assert len(work.done) == 2
        await time.go(1.8)
        assert len(work.done) == 2
        await time.go(0.3)
        assert len(work.done) == 3
        queue.add("a")
        await settle()

    assert [it.again_seconds for it in work.failures] == [1, 2, 1]
    assert [it.failures for it in work.failures] == [1, 2, 1]


async def test_a_key_that_fails_while_it_is_added_still_waits() -> None:
    work = Work(answers={"a": [ValueError()]})
    async with working(work, held=True) as (queue, time):
        queue.add("a")
        await settle()
        queue.add("a")
        work.gate.set()
        await settle()
        assert work.done == ["a"]
        await time.go(1)

    assert work.done == ["a", "a"]


async def test_a_server_that_says_when_to_come_back_is_heard() -> None:
    work = Work(answers={"a": [Unreachable("apply", "429", 30)]})
    async with working(work) as (queue, time):
        queue.add("a")
        await time.go(29)
        assert len(work.done) == 1
        await time.go(1)

    assert len(work.done) == 2


async def test_a_key_comes_back_when_its_work_says_and_not_twice() -> None:
    work = Work(answers={"a": [600, 600]})
    async with working(work) as (queue, time):
        queue.add("a")
        await time.go(300)
        queue.add("a")  # an event; the time that was set no longer counts
        await time.go(301)
        assert len(work.done) == 2
        await time.go(300)

    assert len(work.done) == 3


async def test_an_earlier_time_wins_over_a_later_one() -> None:
    work = Work()
    async with working(work) as (queue, time):
        queue.add_after("a", 10)
        await settle()
        queue.add_after("a", 5)
        queue.add_after("a", 20)
        queue.add_after("b", 7)
        await time.go(6)
        assert work.done == ["a"]
        await time.go(20)

    assert work.done == ["a", "b"]


async def test_a_key_that_waits_for_a_worker_needs_no_time() -> None:
    work = Work()
    async with working(work) as (queue, time):
        queue.add("a")
        queue.add_after("a", 5)
        await time.go(10)

    assert work.done == ["a"]


async def test_keys_do_not_wait_for_each_other() -> None:
    work = Work()
    async with working(work, workers=4, held=True) as (queue, _):
        for key in "abcdef":
            queue.add(key)
        await settle()
        assert work.running == set("abcd")
        work.gate.set()
        await settle()

    assert sorted(work.done) == list("abcdef")


@given(st.integers(1, 10_000))
def test_back_off_grows_and_has_an_end(failures: int) -> None:
    backoff = Backoff()

    assert 1 <= backoff.after(failures) <= backoff.after(failures + 1) <= 300


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1), (2, 2), (5, 16), (9, 256), (10, 300)])
def test_back_off_doubles_from_a_second_to_five_minutes(failures: int, seconds: int) -> None:
    assert Backoff().after(failures) == seconds
