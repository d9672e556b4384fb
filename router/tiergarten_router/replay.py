"""A kept answer given again: as the stream that it was, or whole.

What is made for a client that wants it whole is kept beside the entry, so that it is made once.
"""

from collections.abc import Callable
from typing import Final

from tiergarten_router.cache.memory import Kept
from tiergarten_router.core.assembly import Assembly
from tiergarten_router.upstream.intake import Event, Intake

PIECE_BYTES: Final = 64 * 1024  # of events that are handed out at once


class Stream:
    """The events of an answer, each as it came.

    Args:
        kept: The answer.
    """

    def __init__(self, kept: Kept) -> None:
        self._parts = kept.entry.events
        self._next = 0
        self._intake = Intake()

    async def next(self) -> list[Event]:
        """Return some of the events that are left; empty at the end."""
        intake = self._intake
        while self._next < len(self._parts) and not intake.ahead:
            begin, size = self._next, 0
            while self._next < len(self._parts) and size < PIECE_BYTES:
                size += len(self._parts[self._next])
                self._next += 1
            intake.take(self._parts[begin : self._next])
        events, intake.ahead = intake.ahead, []
        return events

    @property
    def whole(self) -> bool:
        """Whether `next` has returned all of it."""
        return self._next >= len(self._parts)

    def tap(self, take: Callable[[list[Event]], bool]) -> None:
        """Do nothing: all events are there already."""

    def close(self) -> None:
        """Do nothing: no endpoint is held."""


class Whole:
    """An answer that is whole.

    Args:
        kept: The answer.
    """

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    @property
    def text(self) -> str:
        """What the first choice says."""
        made = self._kept.made
        if "text" not in made:
            made["text"] = self._assembled().text.encode()
        return made["text"].decode()

    def chat(self) -> bytes:
        """Return it as the JSON of a chat completion."""
        made = self._kept.made
        if "chat" not in made:
            made["chat"] = self._assembled().chat()
        return made["chat"]

    def completion(self) -> bytes:
        """Return it as the JSON of a legacy completion."""
        made = self._kept.made
        if "completion" not in made:
            made["completion"] = self._assembled().completion()
        return made["completion"]

    def _assembled(self) -> Assembly:
        assembly = Assembly()
        Intake(assembly).take(self._kept.entry.events)
        return assembly
