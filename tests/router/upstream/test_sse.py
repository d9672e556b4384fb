"""Server-sent events in any chunks."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router.upstream import sse

TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":" two"}}]}\n\n'
ENDS = (b"\n\n", b"\r\n\r\n", b"\r\n\n", b"\n\r\n")

payloads = st.binary().map(lambda raw: raw.replace(b"\r", b""))
lines = st.sampled_from(
    [b"data: {}", b"data:x", b"data", b": ping", b":", b"event: a", b"id: 1", b"retry: 5"]
)
events = st.builds(
    lambda parts, eol, end: eol.join(parts) + end,
    st.lists(lines, min_size=1, max_size=3),
    st.sampled_from([b"\n", b"\r\n"]),
    st.sampled_from(ENDS),
)
noise = st.text("d:a \r\n", max_size=40).map(str.encode)


def chunks(stream, cuts):
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(edges)]


def split(parts, limit=sse.EVENT_BYTES_MAX):
    splitter = sse.Splitter(limit)
    found = [event for part in parts for event in splitter.feed(part)]
    return found, splitter.pending


cut_lists = st.lists(st.integers(0, 10_000), max_size=12)


@given(st.lists(payloads), cut_lists)
def test_parsing_what_was_framed_gives_it_back_under_any_chunking(sent, cuts):
    stream = b"".join(map(sse.frame, sent))

    found, pending = split(chunks(stream, cuts))

    assert [sse.data(event) for event in found] == sent
    assert pending == b""


@given(st.lists(events), cut_lists)
def test_events_come_out_as_the_bytes_that_they_were(sent, cuts):
    assert split(chunks(b"".join(sent), cuts)) == (sent, b"")


@given(st.one_of(noise, st.binary()), cut_lists)
def test_no_byte_is_lost_or_moved_by_the_chunks_it_comes_in(stream, cuts):
    found, pending = split(chunks(stream, cuts))

    assert b"".join(found) + pending == stream
    assert (found, pending) == split([stream])
    assert all(event.endswith(b"\n") for event in found)


@given(st.one_of(noise, st.binary()))
def test_what_an_event_carries_is_found_or_refused_and_never_breaks(event):
    try:
        carried = sse.data(event)
    except sse.SSEError:
        return
    assert carried is None or isinstance(carried, bytes)


def test_an_event_in_its_own_chunk_is_handed_on_without_a_copy():
    assert sse.Splitter().feed(TOKEN)[0] is TOKEN


def test_several_events_of_one_chunk_are_told_apart():
    assert split([TOKEN * 3]) == ([TOKEN] * 3, b"")
    assert split([TOKEN * 3 + b"data: cut"]) == ([TOKEN] * 3, b"data: cut")


def test_a_chunk_that_ends_in_a_stray_empty_line_holds_it_back():
    assert split([b":\n\n\n\n\n"]) == ([b":\n\n", b"\n\n"], b"\n")


def test_an_event_comes_as_soon_as_its_last_byte_is_there():
    splitter = sse.Splitter()

    assert splitter.feed(b"data: x\r\n\r") == []
    assert splitter.feed(b"\n") == [b"data: x\r\n\r\n"]


@pytest.mark.parametrize("end", ENDS, ids=["lf", "crlf", "crlf-lf", "lf-crlf"])
def test_lines_may_end_in_either_way(end):
    (event,) = sse.Splitter().feed(b"data: x" + end)

    assert sse.data(event) == b"x"


@pytest.mark.parametrize(
    ("event", "carried"),
    [
        pytest.param(b"data: x\n\n", b"x", id="usual"),
        pytest.param(b"data:x\n\n", b"x", id="no-space"),
        pytest.param(b"data:  x\n\n", b" x", id="one-space-only-is-taken-off"),
        pytest.param(b"data: \n\n", b"", id="empty"),
        pytest.param(b"data\n\n", b"", id="name-only"),
        pytest.param(b"data: a\ndata: b\n\n", b"a\nb", id="lines"),
        pytest.param(b"event: e\nid: 7\ndata: x\n\n", b"x", id="after-other-fields"),
        pytest.param(b"\ndata: x\n\n", b"x", id="after-an-empty-line"),
        pytest.param(b":\n\n", None, id="comment"),
        pytest.param(b": keep-alive\r\n\r\n", None, id="comment-with-text"),
        pytest.param(b"event: e\n\n", None, id="no-data"),
        pytest.param(b"\n\n", None, id="empty-lines"),
    ],
)
def test_what_an_event_carries(event, carried):
    assert sse.data(event) == carried


@pytest.mark.parametrize(
    "event",
    [b"garbage\n\n", b"data: x\nerror: y\n\n", b"<html>\n\n", b"\x00\xff\n\n", b"Data: x\n\n"],
)
def test_a_line_that_is_no_field_is_refused(event):
    with pytest.raises(sse.SSEError, match="no field"):
        sse.data(event)


@given(st.integers(3, 60), st.integers(0, 60), cut_lists)
def test_an_event_may_be_as_long_as_the_limit_and_no_longer(limit, extra, cuts):
    stream = b"x" * (limit - 2 + extra) + b"\n\n"

    if extra:
        with pytest.raises(sse.SSEError, match=f"more than {limit} bytes"):
            split(chunks(stream, cuts), limit)
    else:
        assert split(chunks(stream, cuts), limit) == ([stream], b"")


def test_a_line_without_an_end_is_given_up_at_the_limit():
    splitter = sse.Splitter()
    splitter.feed(b"data: " + b"x" * (sse.EVENT_BYTES_MAX - 6))

    with pytest.raises(sse.SSEError):
        splitter.feed(b"x")


def test_many_short_events_in_one_chunk_may_be_longer_together_than_one_may_be():
    assert split([b":\n\n" * 40], limit=10) == ([b":\n\n"] * 40, b"")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        pytest.param(sse.comment(), b":\n\n", id="bare"),
        pytest.param(sse.comment(b"keep-alive"), b": keep-alive\n\n", id="with-text"),
    ],
)
def test_a_comment_carries_nothing(made, expected):
    assert made == expected
    assert sse.data(made) is None
