"""Whole files and whole sets of shards."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufs import gguf_file
from tiergarten_fetch import weights
from tiergarten_fetch.errors import FetchFailed, NotFound, NotGGUF
from tiergarten_fetch.results import File

WHOLE = gguf_file()


def shard(number: int, count: int) -> str:
    return f"tiny-{number:05}-of-{count:05}.gguf"


def file(split: tuple[int, int] | None, role: str = "Model") -> File:
    payload = gguf_file(split=split)
    header = weights.header(io.BytesIO(payload), "tiny", len(payload))
    return File("tiny", role, Path("tiny"), len(payload), None, header)


def test_a_whole_file_tells_what_it_is():
    header = weights.header(io.BytesIO(WHOLE), "tiny", len(WHOLE))

    assert (header.architecture, header.quantization) == ("llama", "Q8_0")
    assert (header.context_length, header.vocab_size) == (4096, 100)


@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_that_is_cut_anywhere_is_refused(size: int):
    with pytest.raises(NotGGUF, match=r"^tiny: "):
        weights.header(io.BytesIO(WHOLE[:size]), "tiny", size)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(FetchFailed, match="No such file"):
        weights.header_of(tmp_path / "none", "none")


@pytest.mark.parametrize(
    "names",
    [[], ["tiny.gguf"], ["a.gguf", "b.gguf"], [shard(1, 1)], [shard(n, 3) for n in (1, 2, 3)]],
)
def test_names_that_are_no_shards_or_all_shards_are_accepted(names: list[str]):
    weights.check_names(names)


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ([shard(1, 3), shard(3, 3)], shard(2, 3)),
        ([shard(2, 2)], shard(1, 2)),
        ([shard(2, 2), shard(1, 2)], "in another order"),
        ([shard(1, 2), shard(2, 2), "other.gguf"], "in another order"),
        ([shard(1, 2), "other.gguf"], shard(2, 2)),
    ],
)
def test_names_that_are_some_shards_are_refused(names: list[str], missing: str):
    with pytest.raises(NotFound, match=missing):
        weights.check_names(names)


def test_a_model_and_its_helpers_are_whole():
    header = weights.check_shards([file(None), file((0, 9), "Projector")])

    assert header.split_count == 1


def test_shards_together_are_as_large_as_all_of_them():
    parts = [file((0, 2)), file((1, 2))]

    header = weights.check_shards(parts)

    assert header.tensor_bytes == sum(part.header.tensor_bytes for part in parts)


@pytest.mark.parametrize("splits", [[(0, 2)], [(0, 2), (0, 2)], [(0, 1), (1, 2)]])
def test_shards_that_are_not_a_set_are_refused(splits: list[tuple[int, int]]):
    with pytest.raises(NotFound, match=r"^model\.files: "):
        weights.check_shards([file(split) for split in splits])


def test_the_first_shard_comes_first():
    with pytest.raises(NotFound, match="name the first shard first"):
        weights.check_shards([file((1, 2)), file((0, 2))])
