"""Server-sent events as bytes: cut out of whatever chunks they arrive in, opened, and made.

Events stay the bytes that they were, so that one which is only passed on costs no more than the
search for its end. Lines end with LF or CRLF; nothing that speaks to us ends them with CR alone.
"""

import re
from typing import Final

EVENT_BYTES_MAX: Final = 1 << 20  # an honest event has 200; one with all logprobs some 10,000

_END: Final = re.compile(rb"\n\r?\n")
_KEPT: Final = 2  # an end of three bytes may have come as far as its second
_FIELDS: Final = frozenset({b"event", b"id", b"retry"})


class SSEError(ValueError):
    """What arrived is not a stream of server-sent events."""


class Splitter:
    """Cuts a stream of bytes into events; one for each stream.

    Joined, what `feed` returned and what is `pending` are the bytes that came in.

    Args:
        limit: Most bytes of one event.
    """

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int = EVENT_BYTES_MAX) -> None:
        self._limit = limit
        self._held = bytearray()

    def __bool__(self) -> bool:
        """Return whether an event began and did not end."""
        return bool(self._held)

    @property
    def pending(self) -> bytes:
        """The beginning of an event whose end has not come; not empty at the end: it was cut."""
        return bytes(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the events that are whole now, each with the empty line that ends it.

        Args:
            data: The next bytes of the stream, any number of them.

        Raises:
            SSEError: If an event is longer than the limit; the splitter is of no use afterwards.
        """
        held = self._held
        if not held and data.endswith(b"\n\n") and b"\r" not in data and len(data) <= self._limit:
            if data.find(b"\n\n") == len(data) - 2:  # nearly always: an event in its own chunk
                return [data]
            parts = data.split(b"\n\n")
            if not parts.pop():
                return [part + b"\n\n" for part in parts]
        searched = max(0, len(held) - _KEPT)
        held += data
        return self._cut(searched)

    def _cut(self, searched: int) -> list[bytes]:
        events = []
        held, begin = self._held, 0
        for end in _END.finditer(held, searched):
            self._check(end.end() - begin)
            events.append(bytes(held[begin : end.end()]))
            begin = end.end()
        self._check(len(held) - begin)
        if begin:
            self._held = held[begin:]
        return events

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise SSEError(f"An event has more than {self._limit} bytes.")


def data(event: bytes) -> bytes | None:
    """Return what an event carries, or None when it carries nothing, as a comment does.

    Args:
        event: A whole event, as `Splitter.feed` returns it.

    Raises:
        SSEError: If a line of it is neither a field of server-sent events nor a comment.
    """
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2:
        return event[6:-2].removesuffix(b"\r")
    parts = []
    for line in event.split(b"\n"):
        name, _, value = line.removesuffix(b"\r").partition(b":")
        if name == b"data":
            parts.append(value.removeprefix(b" "))
        elif name and name not in _FIELDS:
            raise SSEError("A line is no field of server-sent events.")
    return b"\n".join(parts) if parts else None


def frame(payload: bytes) -> bytes:
    """Return an event that carries these bytes; its lines may not end with CR."""
    return b"data: " + payload.replace(b"\n", b"\ndata: ") + b"\n\n"


def comment(text: bytes = b"") -> bytes:
    """Return an event that carries nothing and only shows that the stream is alive."""
    return b": " + text + b"\n\n" if text else b":\n\n"
