"""Reads a GGUF header's numbers, strings and arrays from a stream, within bounds.

`gguf` says which of them come in which order and what they mean. Every count and length comes from
a file that nobody has checked yet, so each has a limit here, and none decides how much memory is
taken. Nothing seeks: a pipe or a download will do.
"""

import struct
from dataclasses import dataclass
from typing import BinaryIO, Final

MAX_HEADER_BYTES: Final = 128 << 20  # the longest vocabularies take some 15 MiB
MAX_STRING_BYTES: Final = 16 << 20  # chat templates are the longest
MAX_KEY_BYTES: Final = 65_535  # the format's own limit
MAX_ITEMS: Final = 4_000_000  # merges are the longest arrays: about twice the vocabulary
KEPT_ITEMS: Final = 4_096  # longer arrays are only counted: nothing is listed per layer beyond it
CHUNK_BYTES: Final = 256 << 10

STRING: Final = 8
ARRAY: Final = 9
NUMBERS: Final = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_U32, _U64 = NUMBERS[4], NUMBERS[10]


class NotGGUF(ValueError):
    """The bytes are no GGUF file that can be served; the message says why, in a sentence."""


@dataclass(frozen=True, slots=True)
class Counted:
    """An array of which only the number of items was kept."""

    items: int


Number = int | float | bool
Value = Number | str | tuple[Number, ...] | Counted


class Cursor:
    """A place in a stream that only moves forward.

    Args:
        stream: Where the header begins; it may be read a little beyond the header's end.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._buffer = b""
        self._at = 0
        self._before = 0  # bytes of the stream that lie before the buffer

    @property
    def position(self) -> int:
        """How many bytes were taken so far."""
        return self._before + self._at

    def take(self, size: int) -> bytes:
        """Return the next bytes.

        Raises:
            NotGGUF: The stream ends before them, or the header is beyond all reason.
        """
        self._need(size)
        start = self._at
        self._at += size
        return self._buffer[start : self._at]

    def skip(self, size: int) -> None:
        """Pass over bytes without holding more than a chunk of them."""
        while size > 0:
            step = min(size, CHUNK_BYTES)
            self._need(step)
            self._at += step
            size -= step

    def number(self, kind: int) -> Number:
        """Return a number of one of the kinds in `NUMBERS`."""
        layout = NUMBERS[kind]
        value: Number = layout.unpack(self.take(layout.size))[0]
        return value

    def count(self, what: str, limit: int) -> int:
        """Return a 64-bit count.

        Args:
            what: What is counted, for the message.
            limit: The largest count that any real file has.
        """
        value: int = _U64.unpack(self.take(8))[0]
        if value > limit:
            raise NotGGUF(f"{what}: {value} is more than {limit}; the file is damaged")
        return value

    def string(self, what: str, limit: int = MAX_STRING_BYTES) -> str:
        """Return a string; bytes that are no UTF-8 are replaced."""
        return self.take(self.count(f"bytes of {what}", limit)).decode(errors="replace")

    def value(self, what: str) -> Value:
        """Return a typed value; long arrays and arrays of strings are only counted.

        Args:
            what: The key it belongs to, for messages.
        """
        kind: int = _U32.unpack(self.take(4))[0]
        if kind == STRING:
            return self.string(what)
        if kind == ARRAY:
            return self._array(what)
        if kind not in NUMBERS:
            raise NotGGUF(f"{what}: {kind} is no type of value; the file is damaged")
        return self.number(kind)

    def _array(self, what: str) -> tuple[Number, ...] | Counted:
        kind: int = _U32.unpack(self.take(4))[0]
        items = self.count(f"items of {what}", MAX_ITEMS)
        if kind == STRING:
            self._skip_strings(what, items)
        elif kind not in NUMBERS:  # llama.cpp refuses arrays of arrays too
            raise NotGGUF(f"{what}: {kind} is no type of an item; the file is damaged")
        elif items <= KEPT_ITEMS:
            layout = struct.Struct(f"<{items}{NUMBERS[kind].format[1:]}")
            return layout.unpack(self.take(layout.size))
        else:
            self.skip(items * NUMBERS[kind].size)
        return Counted(items)

    def _skip_strings(self, what: str, items: int) -> None:
        """Pass over an array of strings: a vocabulary, so the loop works on the bare buffer."""
        buffer, at, unpack = self._buffer, self._at, _U64.unpack_from
        for _ in range(items):
            end = at + 8
            if end <= len(buffer):
                end += unpack(buffer, at)[0]
                if end <= len(buffer):
                    at = end
                    continue
            self._at = at  # the buffer ends within this string: go the careful way once
            self.skip(self.count(f"bytes of an item of {what}", MAX_STRING_BYTES))
            buffer, at = self._buffer, self._at
        self._at = at

    def _need(self, size: int) -> None:
        """Have at least so many bytes in the buffer."""
        missing = size - (len(self._buffer) - self._at)
        if missing <= 0:
            return
        if self.position + size > MAX_HEADER_BYTES:
            raise NotGGUF(f"the header is longer than {MAX_HEADER_BYTES >> 20} MiB")
        parts = [self._buffer[self._at :]]
        self._before += self._at
        self._at = 0
        while missing > 0:
            part = self._stream.read(max(missing, CHUNK_BYTES))
            if not part:
                self._buffer = b"".join(parts)
                raise NotGGUF(
                    f"the file ends after {self._before + len(self._buffer)} bytes, within its "
                    "header; fetch it again"
                )
            parts.append(part)
            missing -= len(part)
        self._buffer = b"".join(parts)
