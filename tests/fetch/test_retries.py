"""When it is tried again, and when no more."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_fetch.errors import FetchFailed, Interrupted, NotFound
from tiergarten_fetch.retries import Backoff, repeat, retry_after

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NO_PAUSE = Backoff(attempts=3, first_seconds=0.0)
failures = st.integers(1, 10_000)
chances = st.floats(0, 1)


@given(failures, chances, st.none() | st.floats(0, 1e9))
def test_a_pause_is_bounded_and_not_shorter_than_asked(count, chance, asked):
    backoff = Backoff()

    pause = backoff.pause(count, chance, asked)

    assert 0.5 <= pause <= max(backoff.longest_seconds, backoff.longest_asked_seconds)
    assert pause >= min(asked or 0.0, backoff.longest_asked_seconds)


@given(failures, chances)
def test_the_next_pause_is_not_shorter(count: int, chance: float):
    assert Backoff().pause(count, chance) <= Backoff().pause(count + 1, chance)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        ("0", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        ("Fri, 02 Jan 2026 03:04:15 -0000", 10.0),
        ("Fri, 02 Jan 1970 03:04:15 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("Fri, 99 Jan 2026 03:04:15 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None):
    assert retry_after(value, NOW) == seconds


@given(st.text())
def test_no_retry_after_breaks_the_reader(value: str):
    seconds = retry_after(value, NOW)

    assert seconds is None or seconds >= 0


class Tries:
    """Fails as told, then returns the number of tries."""

    def __init__(self, *failures: Exception):
        self.left = list(failures)
        self.count = 0

    async def __call__(self) -> int:
        self.count += 1
        if self.left:
            raise self.left.pop(0)
        return self.count


async def test_a_try_that_was_interrupted_is_made_again():
    heard: list[Interrupted] = []
    tries = Tries(Interrupted("one"), Interrupted("two"))

    assert await repeat(tries, NO_PAUSE, lambda: 1.0, failed=heard.append) == 3
    assert [failure.message for failure in heard] == ["one", "two"]


async def test_it_gives_up_after_as_many_failures_as_allowed_and_names_the_last():
    tries = Tries(*(Interrupted(f"failure {number}") for number in range(9)))

    with pytest.raises(FetchFailed, match=r"failure 2 \(tried 3 times\)"):
        await repeat(tries, NO_PAUSE, lambda: 1.0)


async def test_progress_starts_the_count_anew():
    tries = Tries(*(Interrupted("again") for _ in range(9)))

    assert await repeat(tries, NO_PAUSE, lambda: 1.0, progressed=lambda: True) == 10


async def test_an_error_that_stays_is_not_tried_again():
    tries = Tries(NotFound("gone"))

    with pytest.raises(NotFound):
        await repeat(tries, NO_PAUSE, lambda: 1.0)
    assert tries.count == 1
