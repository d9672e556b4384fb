"""A kept answer given again: as the stream that it was, or whole.

What is made for a client that wants it whole is kept beside the entry, so that it is made once.
"""

from typing import Final

from tiergarten_router import wire
from tiergarten_router.cache.memory import Kept
from tiergarten_router.core.assembly import Assembly
from tiergarten_router.upstream import sse
from tiergarten_router.upstream.stream import DONE, Event

PIECE_BYTES: Final = 64 * 1024  # of events that are handed out at once


class Stream:
    """The events of an answer, each as it came.

    Args:
        kept: The answer.
    """

    def __init__(self, kept: Kept) -> None:
        self._events = kept.entry.events
        self._next = 0

    async def next(self) -> list[Event]:
        """Return some of the events that are left; empty at the end."""
        begin, size = self._next, 0
        while self._next < len(self._events) and size < PIECE_BYTES:
            size += len(self._events[self._next])
            self._next += 1
        return events(self._events[begin : self._next])

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
        said = [payload for payload in sse.payloads(self._kept.entry.events) if payload != DONE]
        for chunk in wire.decode_chunks(b"[%b]" % b",".join(said)):
            assembly.add(chunk)
        return assembly


def events(raws: list[bytes]) -> list[Event]:
    """Return events with what they say."""
    payloads = [sse.data(raw) for raw in raws]
    said = [payload for payload in payloads if payload is not None and payload != DONE]
    chunks = iter(wire.decode_chunks(b"[%b]" % b",".join(said)))
    return [
        Event(raw, None if payload is None or payload == DONE else next(chunks))
        for raw, payload in zip(raws, payloads, strict=True)
    ]
