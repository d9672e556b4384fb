"""The line that says how a fetch ended, within the size of a termination message."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufs import gguf_file
from tiergarten_fetch import outcomes, weights
from tiergarten_fetch.errors import FetchError, NoSpace, NotFound
from tiergarten_fetch.results import File, Result

PAYLOAD = gguf_file()
HEADER = weights.header(io.BytesIO(PAYLOAD), "tiny", len(PAYLOAD))


def result(files: int) -> Result:
    made = [
        File(f"{'x' * 200}{n}.gguf", "Model", Path("x"), 1 << 40, f"{n:064}", HEADER)
        for n in range(files)
    ]
    return Result(Path("x"), tuple(made), HEADER, "c" * 40)


def test_what_is_written_is_read_as_it_was():
    outcome = outcomes.of(result(3))

    assert outcomes.read(outcomes.line(outcome)) == outcome
    assert outcome.header == HEADER
    assert (outcome.reason, outcome.exit_code, outcome.file_count) == ("Verified", 0, 3)


@pytest.mark.parametrize("files", [1, 12, 13, 64])
def test_a_line_fits_whatever_the_number_of_files(files: int):
    outcome = outcomes.of(result(files))

    text = outcomes.line(outcome)

    assert len(text.encode()) <= outcomes.LIMIT_BYTES
    assert "\n" not in text
    found = outcomes.read(text)
    assert found is not None
    assert (found.header, found.digest, found.size) == (HEADER, outcome.digest, files << 40)
    assert found.file_count == files


def test_a_header_that_is_too_long_is_left_out():
    outcome = outcomes.of(result(1))
    long = replace(HEADER, layers=4096, heads_kv=(8,) * 4096, sliding_layers=(True,) * 4096)

    found = outcomes.read(outcomes.line(replace(outcome, header=long)))

    assert found == replace(outcome, header=None, files=())


@given(st.text(max_size=5000))
def test_no_message_makes_a_line_too_long(message: str):
    text = outcomes.line(outcomes.failed(NotFound(message)))

    assert len(text.encode()) <= outcomes.LIMIT_BYTES
    found = outcomes.read(text)
    assert found is not None
    assert (found.reason, found.exit_code) == ("NotFound", 42)
    assert message.startswith(found.message.removesuffix("…"))


def test_a_name_on_disk_that_is_no_unicode_is_shown_with_question_marks():
    found = outcomes.read(outcomes.line(outcomes.failed(NotFound("bad \udcff.gguf"))))

    assert found is not None
    assert found.message == "bad ?.gguf"


def test_a_message_of_many_escapes_is_cut_to_what_fits():
    text = outcomes.line(outcomes.failed(NotFound("\x01" * 5000)))

    assert len(text.encode()) <= outcomes.LIMIT_BYTES


def test_every_error_has_its_own_reason_and_code():
    kinds = FetchError.__subclasses__()

    assert {(kind.reason, kind.exit_code) for kind in kinds} == {
        ("ChecksumMismatch", 41),
        ("NotFound", 42),
        ("Unauthorized", 43),
        ("NoSpace", 44),
        ("NotGGUF", 45),
        ("FetchFailed", 1),
    }


@pytest.mark.parametrize("text", ["", " \n", "OOMKilled", "{}", "[1]", '{"reason": 5}'])
def test_what_is_no_outcome_is_none(text: str):
    assert outcomes.read(text) is None


def test_an_outcome_is_the_last_of_several_lines():
    line = outcomes.line(outcomes.failed(NoSpace("full")))

    found = outcomes.read(f"progress\n{line}\n")

    assert found is not None
    assert found.reason == "NoSpace"
