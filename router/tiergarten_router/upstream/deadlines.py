"""One sweep for all time limits: a timer for each request would cost more than its work.

Whoever waits holds a `Deadline` and moves its `at` as it likes, for the price of an assignment. The
sweep comes ten times a second, so a limit is kept to a tenth of a second.
"""

import asyncio
from collections.abc import Callable
from math import inf

SWEEP_SECONDS = 0.1


class Deadline:
    """A point in time at which something is given up.

    Attributes:
        at: Event-loop time in seconds; `inf` while nothing is waited for.
        expire: What is called once when `at` has passed.
    """

    __slots__ = ("at", "expire")

    def __init__(self, expire: Callable[[], None]) -> None:
        self.at = inf
        self.expire = expire


class Deadlines:
    """All deadlines of a router.

    Attributes:
        on_sweep: Told how much later than it should a sweep came, in seconds: the lag of the loop.
    """

    def __init__(self) -> None:
        self.on_sweep: Callable[[float], None] = lambda _lag: None
        self._held: set[Deadline] = set()

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, deadline: Deadline) -> None:
        """Sweep a deadline until it is released."""
        self._held.add(deadline)

    def release(self, deadline: Deadline) -> None:
        """Forget a deadline; it will not expire any more."""
        self._held.discard(deadline)

    def sweep(self, now: float) -> None:
        """Expire what is due, each at most once until it is set again."""
        for deadline in [held for held in self._held if held.at <= now]:
            deadline.at = inf
            deadline.expire()

    async def run(self) -> None:
        """Sweep until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + SWEEP_SECONDS
            await asyncio.sleep(SWEEP_SECONDS)
            now = loop.time()
            self.on_sweep(max(0.0, now - due))
            self.sweep(now)
