"""Numbers, strings and arrays are read within bounds, from any stream."""

import io
import struct
from collections.abc import Callable
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_api import gguf_cursor
from tiergarten_api.gguf_cursor import ARRAY, NUMBERS, STRING, Counted, Cursor, NotGGUF, Value

ENDLESS = 1 << 62


class Trickle(io.RawIOBase):
    """A stream that gives one byte less than was asked for, as a socket may."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def read(self, size: int = -1, /) -> bytes:
        step = max(1, min(size - 1, 1000))
        part, self._rest = self._rest[:step], self._rest[step:]
        return part


class Zeros(io.RawIOBase):
    """A stream without an end."""

    def read(self, size: int = -1, /) -> bytes:
        return bytes(size)


def cursor_over(content: bytes) -> Cursor:
    return Cursor(io.BytesIO(content))


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def array(kind: int, items: list[bytes]) -> bytes:
    return struct.pack("<IIQ", ARRAY, kind, len(items)) + b"".join(items)


@given(st.lists(st.binary(max_size=300), max_size=50), st.sampled_from([io.BytesIO, Trickle]))
def test_strings_are_passed_over_wherever_the_buffer_ends(
    items: list[bytes], stream: Callable[[bytes], BinaryIO]
) -> None:
    content = array(STRING, [text(item) for item in items]) + b"next"
    cursor = Cursor(stream(content))

    value = cursor.value("tokens")

    assert value == Counted(len(items))
    assert cursor.take(4) == b"next"
    assert cursor.position == len(content)


def test_strings_longer_than_a_chunk_are_passed_over() -> None:
    long = bytes(gguf_cursor.CHUNK_BYTES * 3)
    content = array(STRING, [text(long), text("a"), text(long)]) + b"next"

    cursor = cursor_over(content)

    assert cursor.value("tokens") == Counted(3)
    assert cursor.take(4) == b"next"


@pytest.mark.parametrize(
    ("content", "value"),
    [
        pytest.param(struct.pack("<IB", 0, 255), 255, id="uint8"),
        pytest.param(struct.pack("<Ib", 1, -1), -1, id="int8"),
        pytest.param(struct.pack("<IH", 2, 65535), 65535, id="uint16"),
        pytest.param(struct.pack("<Ii", 5, -7), -7, id="int32"),
        pytest.param(struct.pack("<If", 6, 0.5), 0.5, id="float32"),
        pytest.param(struct.pack("<IB", 7, 1), True, id="bool"),
        pytest.param(struct.pack("<IQ", 10, 1 << 63), 1 << 63, id="uint64"),
        pytest.param(struct.pack("<Id", 12, 0.25), 0.25, id="float64"),
        pytest.param(struct.pack("<I", STRING) + text("é"), "é", id="string"),
        pytest.param(struct.pack("<I", STRING) + text(b"\xff"), "\ufffd", id="not UTF-8"),
        pytest.param(array(4, []), (), id="empty array"),
        pytest.param(array(4, [struct.pack("<I", 3)] * 2), (3, 3), id="array"),
        pytest.param(array(0, [b"x"] * 5000), Counted(5000), id="long array"),
    ],
)
def test_a_value_is_read_by_its_type(content: bytes, value: Value) -> None:
    cursor = cursor_over(content)

    assert cursor.value("key") == value
    assert cursor.position == len(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(struct.pack("<I", 99), "no type of value", id="type"),
        pytest.param(array(99, []), "no type of an item", id="type of items"),
        pytest.param(array(ARRAY, []), "no type of an item", id="arrays of arrays"),
        pytest.param(struct.pack("<IQ", STRING, ENDLESS), "bytes of key", id="endless string"),
        pytest.param(struct.pack("<IIQ", ARRAY, 0, ENDLESS), "items of key", id="endless array"),
        pytest.param(
            array(STRING, [struct.pack("<Q", ENDLESS)]), "an item of key", id="endless item"
        ),
        pytest.param(struct.pack("<IIQ", ARRAY, 4, 7), "ends after 16 bytes", id="cut"),
    ],
)
def test_what_no_file_has_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(NotGGUF, match=message):
        cursor_over(content).value("key")


def forever_bytes(cursor: Cursor) -> None:
    cursor.skip(ENDLESS)


@pytest.mark.parametrize("read", [forever_bytes, lambda c: [c.skip(1 << 20) for _ in range(200)]])
def test_a_header_without_an_end_is_given_up(read: Callable[[Cursor], object]) -> None:
    cursor = Cursor(cast(BinaryIO, Zeros()))

    with pytest.raises(NotGGUF, match="longer than 128 MiB"):
        read(cursor)


def test_all_kinds_of_numbers_are_known() -> None:
    assert {*NUMBERS, STRING, ARRAY} == set(range(13))
