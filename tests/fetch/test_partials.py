"""A partial file over several processes' lives."""

import hashlib
import multiprocessing
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiergarten_fetch.errors import FetchFailed
from tiergarten_fetch.partials import Partial

TAG = '"tag"'


def nothing(_size: int) -> None:
    """Hear how far hashing is."""


def began(path: Path, content: bytes, etag: str | None = TAG) -> None:
    partial = Partial(path)
    partial.restart(etag)
    partial.write(content)
    partial.close()


@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(st.binary(max_size=50), max_size=6), reopen=st.sets(st.integers(0, 5)))
def test_its_hash_is_that_of_its_bytes_whenever_it_is_reopened(
    pieces: list[bytes], reopen: set[int], tmp_path_factory: pytest.TempPathFactory
):
    path = tmp_path_factory.mktemp("partial") / "p"
    partial = Partial(path)
    partial.restart(TAG)
    for number, piece in enumerate(pieces):
        if number in reopen:
            partial.close()
            partial = Partial(path)
            partial.load(None, nothing)
        partial.write(piece)

    whole = b"".join(pieces)
    assert partial.sha256 == hashlib.sha256(whole).hexdigest()
    assert (partial.size, path.read_bytes()) == (len(whole), whole)
    partial.close()


@pytest.mark.parametrize(
    ("etag", "longest", "size"), [(TAG, None, 5), (TAG, 5, 5), (TAG, 4, 0), (None, None, 0)]
)
def test_what_cannot_be_continued_is_dropped(etag, longest, size, tmp_path: Path):
    began(tmp_path / "p", b"GGUF!", etag)
    hashed: list[int] = []

    partial = Partial(tmp_path / "p")
    partial.load(longest, hashed.append)

    assert (partial.size, partial.resumed) == (size, size > 0)
    assert hashed == [5] * (size > 0)
    assert (tmp_path / "p").stat().st_size == size
    partial.close()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"etag": 5}'])
def test_a_broken_note_of_the_etag_means_that_nothing_is_continued(text: str, tmp_path: Path):
    began(tmp_path / "p", b"GGUF")
    (tmp_path / "p.json").write_text(text)

    partial = Partial(tmp_path / "p")
    partial.load(None, nothing)

    assert partial.size == 0
    partial.close()


def test_committed_it_has_its_final_name_and_no_other(tmp_path: Path):
    partial = Partial(tmp_path / "p")
    partial.restart(TAG)
    partial.write(b"GGUF")

    partial.commit(tmp_path / "blob")

    assert [path.name for path in tmp_path.iterdir()] == ["blob"]
    partial.close()


def test_one_that_somebody_replaced_is_neither_committed_nor_dropped(tmp_path: Path):
    partial = Partial(tmp_path / "p")
    (tmp_path / "p").unlink()
    (tmp_path / "p").write_text("another's")

    with pytest.raises(FetchFailed):
        partial.commit(tmp_path / "blob")
    partial.drop()

    assert (tmp_path / "p").read_text() == "another's"
    partial.close()


def test_dropped_twice_it_is_gone(tmp_path: Path):
    partial = Partial(tmp_path / "p")

    partial.drop()
    partial.drop()

    assert not list(tmp_path.glob("p"))
    partial.close()


def _hold(path: Path, ready: Connection) -> None:
    partial = Partial(path)
    partial.restart(TAG)
    partial.write(b"zombie")
    ready.send(None)
    signal.pause()


def test_a_process_that_still_writes_after_losing_its_lock_keeps_a_file_without_a_name(
    tmp_path: Path,
):
    context = multiprocessing.get_context("spawn")
    ready, other = context.Pipe()
    process = context.Process(target=_hold, args=(tmp_path / "p", other))
    process.start()
    try:
        ready.recv()
        partial = Partial(tmp_path / "p")
        partial.load(None, nothing)
    finally:
        process.kill()
        process.join()

    assert partial.size == 0
    partial.restart(TAG)
    partial.write(b"GGUF")
    partial.commit(tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == b"GGUF"
    partial.close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(FetchFailed, match="ENOENT"):
        Partial(tmp_path / "folder" / "p")
