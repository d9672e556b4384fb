"""A file's way through tries, ranges and changed files, each seen at the server."""

import asyncio
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behaviours import Behaviour, End, head
from fetchables import NAME, hub_model, options, web_model
from ggufs import gguf_file
from hub import Fault, Hub, cut, edit, good, hold, refuse, sha256, whole
from tiergarten_fetch.errors import ChecksumMismatch, FetchFailed, NotGGUF
from tiergarten_fetch.fetching import fetch

PAYLOAD = gguf_file(blocks=4000)  # some 136 KB: many pieces
OTHER = gguf_file(blocks=4000, seed=1)
AT = 100_000
TAG = '"tag-1"'
UNCHECKED = hub_model(require_checksum=False)


def left(root: Path) -> set[str]:
    """Return the names in the folder of blobs, with `SHA` for the payload's."""
    return {path.name.replace(sha256(PAYLOAD), "SHA") for path in (root / "blobs").iterdir()}


async def stop_at(hub: Hub, root: Path, after: int = AT) -> None:
    """Leave a partial as a fetch does that is given up after so many bytes."""
    hub.gets = [cut(after), refuse(418)]
    with pytest.raises(FetchFailed, match="418"):
        await fetch(hub_model(), root, options=options(hub))
    hub.requests.clear()


@settings(max_examples=25, deadline=None)
@given(after=st.integers(0, len(PAYLOAD) - 1), end=st.sampled_from([End.FIN, End.RESET]))
async def test_a_download_that_is_cut_at_any_byte_goes_on_after_what_came(after: int, end: End):
    with tempfile.TemporaryDirectory() as root:
        async with Hub({NAME: PAYLOAD}) as hub:
            hub.gets = [cut(after, end)]
            done = await fetch(hub_model(), Path(root), options=options(hub))

        assert done.model.path.read_bytes() == PAYLOAD
        assert len(hub.ranges) == 2
        begin = int((hub.ranges[1] or "bytes=0-")[6:-1])
        assert begin <= after  # a reset may lose what was not read yet
        if end is End.FIN:
            assert begin == after
        assert left(Path(root)) == {"SHA"}


@settings(max_examples=10, deadline=None)
@given(after=st.integers(0, len(PAYLOAD) - 1))
async def test_a_fetch_that_is_cancelled_is_continued_by_the_next(after: int):
    with tempfile.TemporaryDirectory() as root:
        async with Hub({NAME: PAYLOAD}) as hub:
            hub.gets = [hold(after, asyncio.Event())]
            fetching = asyncio.create_task(fetch(hub_model(), Path(root), options=options(hub)))
            await hub.until(lambda: bool(hub.downloads))
            fetching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fetching
            after_cancel = left(Path(root))
            done = await fetch(hub_model(), Path(root), options=options(hub))

        assert after_cancel <= {"SHA.partial", "SHA.partial.json"}
        assert done.model.path.read_bytes() == PAYLOAD


async def test_a_page_in_place_of_a_model_is_refused_at_its_first_bytes(tmp_path: Path):
    async with Hub({NAME: b"<html>" + bytes(1 << 22)}) as hub:
        with pytest.raises(NotGGUF, match="begins with b'<htm'"):
            await fetch(hub_model(), tmp_path, options=options(hub))

    assert left(tmp_path) == set()


async def test_a_range_is_asked_for_only_under_the_etag_that_the_partial_began_with(
    tmp_path: Path,
):
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.etags[NAME] = f'"{sha256(PAYLOAD)}"'
        await stop_at(hub, tmp_path)
        done = await fetch(hub_model(), tmp_path, options=options(hub))

    assert done.model.path.read_bytes() == PAYLOAD
    (request,) = hub.downloads
    assert request.headers["range"] == f"bytes={AT}-"
    assert request.headers["if-range"] == f'"{sha256(PAYLOAD)}"'


async def test_a_file_that_changes_between_two_tries_is_fetched_from_its_start(tmp_path: Path):
    def change(_before: Behaviour) -> Behaviour:
        hub.files[NAME], hub.etags[NAME] = OTHER, '"tag-2"'
        return hub._served(NAME, [])

    async with Hub({NAME: PAYLOAD}) as hub:
        hub.etags[NAME] = TAG
        hub.gets = [cut(AT), change]
        done = await fetch(UNCHECKED, tmp_path, options=options(hub))

    assert done.model.path.read_bytes() == OTHER
    assert hub.ranges == [None, f"bytes={AT}-"]


@pytest.mark.parametrize("etag", ['W/"weak"', None])
async def test_without_a_strong_etag_nothing_is_continued(etag: str | None, tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.etags[NAME] = etag
        hub.gets = [cut(AT)]
        done = await fetch(UNCHECKED, tmp_path, options=options(hub))

    assert done.model.path.read_bytes() == PAYLOAD
    assert hub.ranges == [None, None]


async def test_a_dead_processs_bytes_are_not_continued_if_no_sha256_can_check_them(
    tmp_path: Path,
):
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.etags[NAME] = TAG
        hub.gets = [cut(AT), refuse(418)]
        with pytest.raises(FetchFailed):
            await fetch(UNCHECKED, tmp_path, options=options(hub))
        await fetch(UNCHECKED, tmp_path, options=options(hub))

    assert hub.ranges == [None, f"bytes={AT}-", None]


async def test_a_server_that_ignores_ranges_sends_all_of_it_again(tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        await stop_at(hub, tmp_path)
        hub.gets = [whole]
        done = await fetch(hub_model(), tmp_path, options=options(hub))

    assert done.model.path.read_bytes() == PAYLOAD
    assert len(hub.downloads) == 1


@pytest.mark.parametrize(
    "fault",
    [
        edit(rb"Content-Range: bytes \d+", b"Content-Range: bytes 5"),
        edit(rb"Content-Range: [^\r]*", b"Content-Range: chapters 1-2/3"),
        edit(rb"(Content-Range: [^\r]*/)\d+", rb"\1*"),
        edit(rb"Content-Range: [^\r]*\r\n", b""),
        edit(rb"ETag: [^\r]*", b'ETag: "another"'),
        edit(rb"ETag: [^\r]*\r\n", b""),
        refuse(416),
    ],
    ids=["start", "unit", "total", "none", "etag", "no etag", "416"],
)
async def test_a_range_that_was_not_asked_for_is_dropped_with_the_partial(
    fault: Fault, tmp_path: Path
):
    async with Hub({NAME: PAYLOAD}) as hub:
        await stop_at(hub, tmp_path)
        hub.gets = [fault]
        done = await fetch(hub_model(), tmp_path, options=options(hub))

    assert done.model.path.read_bytes() == PAYLOAD
    assert hub.ranges == [f"bytes={AT}-", None]


async def test_a_part_that_comes_unasked_is_not_taken_for_the_whole(tmp_path: Path):
    part = head(206, "text/plain", "Content-Length: 4", "Content-Range: bytes 0-3/4")
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.gets = [lambda _: lambda _: (part, b"GGUF")]
        done = await fetch(hub_model(), tmp_path, options=options(hub))

    assert done.model.path.read_bytes() == PAYLOAD


@pytest.mark.parametrize("size", [len(PAYLOAD) + 5, len(PAYLOAD) - 5])
async def test_a_wrong_content_length_is_tried_again(size: int, tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.gets = [edit(rb"Content-Length: \d+", b"Content-Length: %d" % size)]
        done = await fetch(hub_model(), tmp_path, options=options(hub))

    assert done.model.path.read_bytes() == PAYLOAD


async def test_a_wrong_content_length_without_a_size_to_compare_it_with_is_found_by_the_hash(
    tmp_path: Path,
):
    short = edit(rb"Content-Length: \d+", b"Content-Length: %d" % (len(PAYLOAD) - 5))
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.heads = [short]
        hub.gets = [short]
        with pytest.raises(ChecksumMismatch):
            await fetch(hub_model(), tmp_path, options=options(hub))

    assert left(tmp_path) == set()


def without_length(behaviour):
    return edit(rb"Content-Length: \d+\r\n", b"Connection: close\r\n")(cut(1 << 30)(behaviour))


async def test_a_file_of_unknown_length_ends_with_its_connection(tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.heads = [edit(rb"Content-Length: \d+\r\n", b"")]
        hub.gets = [without_length]
        done = await fetch(hub_model(), tmp_path, options=options(hub))

    assert done.model.path.read_bytes() == PAYLOAD


async def test_a_connection_that_ends_early_is_continued_although_no_length_was_sent(
    tmp_path: Path,
):
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.gets = [lambda behaviour: without_length(cut(AT)(behaviour))]
        done = await fetch(hub_model(), tmp_path, options=options(hub))

    assert done.model.path.read_bytes() == PAYLOAD
    assert hub.ranges == [None, f"bytes={AT}-"]


async def test_no_more_is_written_than_the_source_said_at_first(tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.heads = [edit(rb"Content-Length: \d+", b"Content-Length: 1000")]
        hub.gets = [without_length]
        with pytest.raises(FetchFailed, match="sends more than the 1000 B"):
            await fetch(hub_model(), tmp_path, options=options(hub))

    assert left(tmp_path) == set()


async def test_a_compressed_answer_is_refused(tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.gets = [edit(rb"(ETag:)", rb"Content-Encoding: gzip\r\n\1")]
        with pytest.raises(FetchFailed, match="compresses although asked not to"):
            await fetch(hub_model(), tmp_path, options=options(hub))

    assert all(one.headers["accept-encoding"] == "identity" for one in hub.requests)


async def test_bytes_that_rotted_in_a_partial_cost_one_more_download(tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        await stop_at(hub, tmp_path)
        partial = tmp_path / "blobs" / f"{sha256(PAYLOAD)}.partial"
        partial.write_bytes(bytes(AT))
        done = await fetch(hub_model(), tmp_path, options=options(hub))

    assert done.model.path.read_bytes() == PAYLOAD
    assert hub.ranges == [f"bytes={AT}-", None]


async def test_a_partial_that_is_whole_needs_no_download(tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        await stop_at(hub, tmp_path)
        partial = tmp_path / "blobs" / f"{sha256(PAYLOAD)}.partial"
        partial.write_bytes(PAYLOAD)
        done = await fetch(hub_model(), tmp_path, options=options(hub))

    assert done.model.path.read_bytes() == PAYLOAD
    assert not hub.downloads


async def test_a_partial_that_is_longer_than_the_file_is_dropped(tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        await stop_at(hub, tmp_path)
        partial = tmp_path / "blobs" / f"{sha256(PAYLOAD)}.partial"
        os.truncate(partial, len(PAYLOAD) + 1)
        await fetch(hub_model(), tmp_path, options=options(hub))

    assert hub.ranges == [None]


async def test_a_source_that_falls_silent_is_given_up_and_asked_again(tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.gets = [hold(AT, asyncio.Event()), good]
        chosen = options(hub, stall_seconds=0.3)
        done = await fetch(hub_model(), tmp_path, options=chosen)

    assert done.model.path.read_bytes() == PAYLOAD
    assert hub.ranges == [None, f"bytes={AT}-"]


async def test_tries_that_bring_much_may_be_more_than_those_that_bring_nothing(tmp_path: Path):
    large = gguf_file(blocks=1_600_000)  # 54 MB: six times what counts as progress
    async with Hub({NAME: large}) as hub:
        hub.gets = [cut(9 << 20)] * 5
        model = web_model(f"{hub.url}/files/{NAME}")
        done = await fetch(model, tmp_path, options=options(hub))

    assert done.model.size == len(large)
    assert len(hub.downloads) == 6
