"""What a result says about all of its files."""

import hashlib
import io
from pathlib import Path

import pytest

from ggufs import gguf_file
from tiergarten_fetch import weights
from tiergarten_fetch.results import File, Progress, Result, unheard

PAYLOAD = gguf_file()
HEADER = weights.header(io.BytesIO(PAYLOAD), "tiny", len(PAYLOAD))


def result(*files: tuple[str, str | None]) -> Result:
    made = [File(f"{n}", role, Path("x"), 10, sha, HEADER) for n, (role, sha) in enumerate(files)]
    return Result(Path("x"), tuple(made), HEADER)


def test_the_model_is_the_first_file_of_that_role():
    assert result(("Projector", "a"), ("Model", "b"), ("Model", "c")).model.name == "1"


def test_the_size_is_that_of_all_files():
    assert result(("Model", "a"), ("Draft", "b")).size == 20


@pytest.mark.parametrize(
    ("files", "digest"),
    [
        ([("Model", "a" * 64)], "a" * 64),
        ([("Model", None)], None),
        ([("Model", "a"), ("Draft", None)], None),
        ([("Model", "a"), ("Draft", "b")], hashlib.sha256(b"ab").hexdigest()),
    ],
)
def test_the_digest_tells_a_model_from_any_other(files, digest):
    assert result(*files).digest == digest


def test_progress_may_be_heard_by_nobody():
    unheard(Progress("a", 1, 2))
