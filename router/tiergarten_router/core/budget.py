"""How many retries the router may make: a fifth of its queries, so that no outage is multiplied.

Counted over the whole process. The dispatcher says which retries count: one that moves a query away
from a lost connection, or to an endpoint that answers well, adds no load to what is failing.
"""

from typing import Final

SHARE: Final = 0.2  # of the queries that are active
FLOOR: Final = 3  # retries that are always allowed
WINDOW_SECONDS: Final = 10  # counted by whole seconds


class Budget:
    """The retries of the last 10 s against the queries of that time.

    Queries that began longer ago and still wait for their first content are active too.

    Attributes:
        active: Queries without content yet.
    """

    __slots__ = ("_begun", "_second", "_spent", "active")

    def __init__(self) -> None:
        self.active = 0
        self._begun = [0] * WINDOW_SECONDS
        self._spent = [0] * WINDOW_SECONDS
        self._second = 0

    def begin(self, now: float) -> None:
        """Count a query, until its `end`.

        Args:
            now: Seconds of a clock that never jumps.
        """
        self.active += 1
        if int(now) != self._second:
            self._turn(int(now))
        self._begun[self._second % WINDOW_SECONDS] += 1

    def end(self) -> None:
        """Count a query that has content, or has failed."""
        self.active -= 1

    def allowed(self, now: float) -> int:
        """Return how many more retries there may be just now, at least 0."""
        if int(now) != self._second:
            self._turn(int(now))
        most = max(FLOOR, int(SHARE * max(self.active, sum(self._begun))))
        return max(0, most - sum(self._spent))

    def spend(self, now: float) -> bool:
        """Take one retry, and return whether there was one."""
        if not self.allowed(now):
            return False
        self._spent[self._second % WINDOW_SECONDS] += 1
        return True

    def _turn(self, second: int) -> None:
        """Forget the seconds that have left the window."""
        for gone in range(max(self._second + 1, second - WINDOW_SECONDS + 1), second + 1):
            self._begun[gone % WINDOW_SECONDS] = self._spent[gone % WINDOW_SECONDS] = 0
        self._second = second
