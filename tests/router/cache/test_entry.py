"""What is stored comes back as it was, or not at all."""

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router import wire
from tiergarten_router.cache import entry as entries
from tiergarten_router.cache.entry import MAGIC, PLAIN_MAX, Entry, seal, unseal

KEY, SECRET = b"k" * 32, b"s" * 32

stored = st.builds(
    Entry,
    events=st.lists(st.binary(max_size=3000), max_size=8),
    tier=st.text(max_size=5),
    model=st.text(max_size=5),
    score=st.integers(0, 100),
    reasons=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    ttl_seconds=st.floats(0.1, 1e6),
    usage=st.none() | st.builds(wire.Usage, st.integers(0, 9), st.integers(0, 9)),
    timings=st.none() | st.builds(wire.Timings, st.integers(0, 9)),
)
ONE = Entry([b"data: x\n\n"], "q2", "tiny", 7, ("length",), 60.0)


@given(stored)
def test_an_entry_comes_back_as_it_was(entry):
    assert unseal(seal(entry, KEY, SECRET), KEY, SECRET) == entry


@given(stored, st.data())
def test_a_flipped_bit_anywhere_is_no_entry(entry, data):
    sealed = bytearray(seal(entry, KEY, SECRET))
    place = data.draw(st.integers(0, len(sealed) - 1))

    sealed[place] ^= 1 << data.draw(st.integers(0, 7))

    assert unseal(bytes(sealed), KEY, SECRET) is None


@given(stored, st.data())
def test_a_part_is_no_entry_nor_is_more(entry, data):
    sealed = seal(entry, KEY, SECRET)

    assert unseal(sealed[: data.draw(st.integers(0, len(sealed) - 1))], KEY, SECRET) is None
    assert unseal(sealed + data.draw(st.binary(min_size=1)), KEY, SECRET) is None


@given(st.binary(max_size=200) | st.binary(max_size=200).map(MAGIC.__add__))
def test_foreign_bytes_are_no_entry(found):
    assert unseal(found, KEY, SECRET) is None


def test_an_entry_is_bound_to_its_key_and_its_secret():
    sealed = seal(ONE, KEY, SECRET)

    assert unseal(sealed, b"x" * 32, SECRET) is None
    assert unseal(sealed, KEY, b"x" * 32) is None
    assert unseal(sealed, KEY, SECRET) == ONE


def test_long_entries_are_compressed_and_short_ones_are_not():
    event = b'data: {"choices": [{"delta": {"content": " word"}}]}\n\n'
    long = Entry([event] * 200, "q2", "tiny", 7, (), 60.0)

    assert len(seal(long, KEY, SECRET)) < PLAIN_MAX / 4 < long.size
    assert ONE.events[0] in seal(ONE, KEY, SECRET)


@pytest.mark.parametrize("flag", [0, 1])
def test_what_was_sealed_by_a_version_that_kept_its_number_is_no_entry(flag):
    for payload in (b"\xc1", msgspec.msgpack.encode(["x"]), zlib.compress(b"\xc1")):
        flags = bytes((flag,))
        mac = entries._mac(SECRET, KEY, flags, payload)

        assert unseal(MAGIC + flags + mac + payload, KEY, SECRET) is None
