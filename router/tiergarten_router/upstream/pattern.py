"""Events that differ in their text alone: checked whole once, and by comparison from then on.

Pure. Of a stream's events nearly all are the same bytes around another piece of text. Whoever has
decoded one of them knows the bytes before and after the text; another event with the same bytes
around a valid JSON string says the same but for that string, and need not be decoded.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tiergarten_router.wire import Choice, Chunk, Delta

_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_texts: Final = msgspec.json.Decoder(list[str]).decode


def _content(text: str) -> Delta:
    return Delta(content=text)


def _reasoning(text: str) -> Delta:
    return Delta(reasoning_content=text)


class Pattern:
    """The bytes around the text of a stream's events.

    Args:
        first: An event with text and nothing else, as it was decoded.
        head: Its bytes before the text.
        tail: Its bytes after the text.
        delta: Makes what an event with some text adds to a chat; None for legacy completions.
    """

    __slots__ = ("_delta", "_first", "_index", "_shortest", "head", "tail")

    def __init__(
        self, first: Chunk, head: bytes, tail: bytes, delta: Callable[[str], Delta] | None
    ) -> None:
        self.head = head
        self.tail = tail
        self._first = first
        self._index = first.choices[0].index
        self._delta = delta
        self._shortest = len(head) + len(tail)

    def pieces(self, events: Sequence[bytes], start: int) -> list[bytes]:
        """Return what stands between these bytes in events, up to the first that lacks them.

        Args:
            events: Events, and whatever else came.
            start: Where to begin.
        """
        head, tail = self.head, self.tail
        begin, end = len(head), -len(tail)
        found: list[bytes] = []
        for event in events[start:] if start else events:
            if not (event.startswith(head) and event.endswith(tail)):
                break
            found.append(event[begin:end])
        return self._cut(found, events, start) if b"" in found else found

    def _cut(self, found: list[bytes], events: Sequence[bytes], start: int) -> list[bytes]:
        """Return the pieces before the first event in which these bytes overlap."""
        for index in range(len(found)):
            if len(events[start + index]) < self._shortest:
                return found[:index]
        return found

    def text(self, pieces: Sequence[bytes]) -> str | None:
        """Return the text of pieces, joined, or None if one of them is no text.

        The event of such a piece may be valid all the same: it is to be decoded.
        """
        try:
            if len(pieces) == 1:
                return _decode_text(b'"%b"' % pieces[0])
            joined = b'["%b"]' % b'","'.join(pieces)
            if b"\\" in joined:  # two halves of an escape could make one text of two pieces
                return "".join([_decode_text(b'"%b"' % piece) for piece in pieces])
            texts = _decode_texts(joined)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        return "".join(texts) if len(texts) == len(pieces) else None

    def chunk(self, text: str) -> Chunk:
        """Return what an event with this text says."""
        first, delta = self._first, self._delta
        if delta is None:
            choice = Choice(self._index, None, text)
        else:
            choice = Choice(self._index, delta(text))
        return Chunk([choice], first.id, first.model, first.created, first.system_fingerprint)


def learn(event: bytes, chunk: Chunk) -> Pattern | None:
    """Return the pattern of an event, or None if it carries anything but text.

    Args:
        event: The whole event, its end included.
        chunk: The same, decoded.
    """
    if len(chunk.choices) != 1 or chunk.usage is not None or chunk.timings is not None:
        return None
    choice = chunk.choices[0]
    if choice.finish_reason is not None or choice.logprobs is not None:
        return None
    delta = choice.delta
    if delta is None:
        return _around(event, chunk, b'"text":"', choice.text, None)
    if choice.text is not None or delta.role is not None or delta.tool_calls is not None:
        return None
    return _of_delta(event, chunk, delta)


def _of_delta(event: bytes, chunk: Chunk, delta: Delta) -> Pattern | None:
    if delta.reasoning_content is None:
        return _around(event, chunk, b'"content":"', delta.content, _content)
    if delta.content is None:
        return _around(event, chunk, b'"reasoning_content":"', delta.reasoning_content, _reasoning)
    return None


def _around(
    event: bytes,
    chunk: Chunk,
    name: bytes,
    text: str | None,
    delta: Callable[[str], Delta] | None,
) -> Pattern | None:
    """Return the pattern around a text that stands once, and without escapes, behind its name."""
    begin = event.find(name)
    if not text or begin < 0 or event.find(name, begin + 1) >= 0:
        return None
    begin += len(name)
    end = event.find(b'"', begin)
    if event[begin:end] != text.encode(errors="replace") or event.count(b"\n") != 2:  # noqa: PLR2004 -- those of its end
        return None
    return Pattern(chunk, event[:begin], event[end:], delta)
