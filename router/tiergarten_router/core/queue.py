"""Who is next of those who wait for a slot: people before chat UIs' own calls, callers in turn.

Each caller's queries are numbered on from the number that is being served, so that a caller with
a hundred of them has one served for each one of everybody else (start-time fair queueing). When
there is no room, the last in this order goes, be it the newcomer or not: a flood pushes out itself.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Priority(IntEnum):
    """Classes of queries, first come first."""

    INTERACTIVE = 0
    BACKGROUND = 1  # titles, tags and follow-ups that a chat UI asks for itself


@dataclass(frozen=True, slots=True, order=True)
class Place(Generic[T]):
    """A place in the queue; the smallest is served first.

    Attributes:
        priority: The class.
        turn: The caller's turn within it.
        number: Order of arrival, among equal turns.
        caller: Whose it is.
        item: What waits.
    """

    priority: Priority
    turn: int
    number: int
    caller: int = field(compare=False)
    item: T = field(compare=False)


class Queue(Generic[T]):
    """A queue with priorities and fair shares; whoever fills it minds its length."""

    def __init__(self) -> None:
        self._places: list[Place[T]] = []
        self._served = dict.fromkeys(Priority, 0)  # the turn that is being served
        self._last: dict[tuple[Priority, int], list[int]] = {}  # of a caller: last turn, how many
        self._number = 0

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Place[T]]:
        """Yield the places in order; each may be taken when it has been yielded."""
        index = 0
        while index < len(self._places):
            place = self._places[index]
            yield place
            if index < len(self._places) and self._places[index] is place:
                index += 1

    @property
    def last(self) -> Place[T]:
        """The one that goes when there is no room; there must be one."""
        return self._places[-1]

    def place(
        self, item: T, caller: int = 0, priority: Priority = Priority.INTERACTIVE
    ) -> Place[T]:
        """Return the place that an item would have; `put` takes it.

        Args:
            item: What is to wait.
            caller: Whose it is; any number that tells callers apart.
            priority: Its class.
        """
        last = self._last.get((priority, caller), (0,))[0]
        self._number += 1
        turn = max(self._served[priority], last) + 1
        return Place(priority, turn, self._number, caller, item)

    def put(self, place: Place[T]) -> None:
        """Let an item wait."""
        insort(self._places, place)
        known = self._last.setdefault((place.priority, place.caller), [0, 0])
        known[0] = max(known[0], place.turn)
        known[1] += 1

    def take(self, place: Place[T], *, served: bool) -> None:
        """Remove a place from the queue; one that is not there any more is none.

        Args:
            place: It.
            served: Whether the item got what it waited for, so that the turns go on.
        """
        index = bisect_left(self._places, place)
        if index == len(self._places) or self._places[index] is not place:
            return
        del self._places[index]
        if served:
            self._served[place.priority] = max(self._served[place.priority], place.turn)
        key = (place.priority, place.caller)
        known = self._last[key]
        known[1] -= 1
        if not known[1]:
            del self._last[key]  # bounded by those who wait
