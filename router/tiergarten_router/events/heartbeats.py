"""Whose heartbeat is due: subscribers are spread over the interval, so that none waits for all."""

from typing import Final

from tiergarten_router.events.subscribers import Subscriber

SLOTS: Final = 15  # moments of an interval
PONG_SLOTS: Final = 10  # after so many of them the answer to a ping must be there


class Wheel:
    """Subscribers by the moment at which they hear where the stream stands."""

    def __init__(self) -> None:
        self._slots: list[set[Subscriber]] = [set() for _ in range(SLOTS)]
        self._slot = 0

    def add(self, subscriber: Subscriber) -> None:
        """Put a subscriber where the fewest are."""
        self.discard(subscriber)
        subscriber.slot = min(range(SLOTS), key=lambda slot: len(self._slots[slot]))
        self._slots[subscriber.slot].add(subscriber)

    def discard(self, subscriber: Subscriber) -> None:
        """Forget a subscriber."""
        self._slots[subscriber.slot].discard(subscriber)

    def turn(self) -> list[Subscriber]:
        """Check those whose answer is due, and return those whose heartbeat is."""
        self._slot = (self._slot + 1) % SLOTS
        for subscriber in list(self._slots[(self._slot - PONG_SLOTS) % SLOTS]):
            subscriber.check()
        return list(self._slots[self._slot])
