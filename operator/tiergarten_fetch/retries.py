"""When to try again: exponential pauses with jitter, and what `Retry-After` asks for.

The decisions are pure; `repeat` is the one loop that waits.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tiergarten_fetch.errors import FetchFailed, Interrupted

T = TypeVar("T")


@dataclass(frozen=True)
class Backoff:
    """How long to wait between tries, and when to give up.

    Attributes:
        attempts: Tries in a row that may fail without worthwhile progress. The default lasts for
            two to four minutes, longer than a source's restart.
        first_seconds: The longest pause after the first failure; it doubles with each.
        longest_seconds: No pause is longer.
        longest_asked_seconds: No pause that a source asks for is kept longer than this.
    """

    attempts: int = 10
    first_seconds: float = 1.0
    longest_seconds: float = 60.0
    longest_asked_seconds: float = 300.0

    def pause(self, failures: int, chance: float, asked_seconds: float | None = None) -> float:
        """Return the seconds to wait after `failures` failures in a row.

        Args:
            failures: At least 1.
            chance: Between 0 and 1; spreads the clients that failed together over half the pause.
            asked_seconds: The source's `Retry-After`, or None. Nobody comes back before it.
        """
        exponent = min(failures - 1, 32)  # 2.0 ** 1100 overflows
        pause = min(self.first_seconds * 2.0**exponent, self.longest_seconds)
        spread = pause * (0.5 + chance / 2)
        asked = min(asked_seconds or 0.0, self.longest_asked_seconds)
        return max(spread, asked)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for; None if it says nothing we read.

    Args:
        value: The header: seconds, or an HTTP date.
        now: The time to count a date from, with its zone.
    """
    if value is None:
        return None
    if value.isascii() and value.strip().isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max((date - now).total_seconds(), 0.0)


async def repeat(
    attempt: Callable[[], Awaitable[T]],
    backoff: Backoff,
    chance: Callable[[], float],
    progressed: Callable[[], bool] = lambda: False,
    failed: Callable[[Interrupted], None] = lambda _failure: None,
) -> T:
    """Return what the first try that succeeds returns.

    Args:
        attempt: One try. `Interrupted` means that another may succeed.
        backoff: Pauses and their number.
        chance: A random number between 0 and 1, for each pause.
        progressed: Whether the last try got so far that the count of failures starts anew.
        failed: Called before each pause, with why there is one.

    Raises:
        FetchFailed: Every try failed; names the last failure.
    """
    failures = 0
    while True:
        try:
            return await attempt()
        except Interrupted as failure:
            failures = 1 if progressed() else failures + 1
            if failures >= backoff.attempts:
                raise FetchFailed(f"{failure.message} (tried {failures} times)") from failure
            failed(failure)
            pause = backoff.pause(failures, chance(), failure.retry_after_seconds)
        await asyncio.sleep(pause)
