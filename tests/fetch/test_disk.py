"""Writes that are whole or not there, and links that pods can follow."""

import errno
import os
from pathlib import Path

import pytest

from tiergarten_fetch import disk
from tiergarten_fetch.errors import FetchFailed, NoSpace


@pytest.mark.parametrize("number", sorted(disk.FULL))
def test_a_full_disk_is_no_space(number: int, tmp_path: Path):
    with pytest.raises(NoSpace, match=r"raise cache\.size"), disk.translated(tmp_path):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("error", "word"), [(OSError(errno.EROFS, "x"), "EROFS"), (OSError("odd"), "OSError")]
)
def test_other_errors_are_named_by_their_word(error: OSError, word: str, tmp_path: Path):
    with pytest.raises(FetchFailed, match=word), disk.translated(tmp_path):
        raise error


def test_a_small_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path):
    path = tmp_path / "note"
    disk.write_json(path, {"a": 1})

    with pytest.raises(TypeError):
        disk.write_json(path, {"a": object()})

    assert disk.read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff"])
def test_a_broken_small_file_is_empty(content: bytes, tmp_path: Path):
    (tmp_path / "note").write_bytes(content)

    assert disk.read_json(tmp_path / "note") == {}
    assert disk.read_json(tmp_path / "none") == {}


def test_a_blob_gets_its_name_as_a_hard_link_again_and_again(tmp_path: Path):
    blob, path = tmp_path / "blob", tmp_path / "models" / "deep" / "name"
    blob.write_text("whole")

    for _ in range(2):
        disk.place(blob, path)

    assert path.samefile(blob)
    assert list(path.parent.iterdir()) == [path]


def test_a_name_that_another_file_had_is_replaced(tmp_path: Path):
    blob, path = tmp_path / "blob", tmp_path / "name"
    blob.write_text("new")
    path.write_text("old")

    disk.place(blob, path)

    assert path.read_text() == "new"


def test_without_hard_links_the_blob_is_moved(tmp_path: Path):
    def refuse(_blob: Path, _name: Path) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    blob, path = tmp_path / "blob", tmp_path / "name"
    blob.write_text("whole")

    disk.place(blob, path, link=refuse)

    assert path.read_text() == "whole"
    assert not blob.exists()


def test_a_link_that_fails_otherwise_fails(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        disk.place(tmp_path / "none", tmp_path / "name")
