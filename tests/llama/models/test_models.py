"""Models are written by a call or a command, the same bytes each time."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tiergarten_api import gguf
from tiergarten_llama.models import write_random, write_scripted
from tiergarten_llama.models.__main__ import main

Write = Callable[[Path], None]


def header_of(file: Path) -> gguf.Header:
    with file.open("rb") as stream:
        return gguf.read_header(stream)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda file: write_scripted(file, "q2"), id="scripted"),
        pytest.param(lambda file: write_random(file, "tiny", seed=3), id="random"),
    ],
)
def test_the_same_arguments_give_the_same_bytes(write: Write, tmp_path: Path) -> None:
    one, other = tmp_path / "one.gguf", tmp_path / "other.gguf"
    write(one)
    write(other)

    assert one.read_bytes() == other.read_bytes()


def test_the_header_says_what_was_asked_for(tmp_path: Path) -> None:
    write_scripted(tmp_path / "s.gguf", "q2", context_tokens=8192, file_type="q8_0")
    write_random(tmp_path / "r.gguf", "small", context_tokens=4096, file_type="f32")

    scripted, random = header_of(tmp_path / "s.gguf"), header_of(tmp_path / "r.gguf")
    assert (scripted.architecture, scripted.layers, scripted.quantization) == ("llama", 1, "Q8_0")
    assert scripted.context_length == 8192
    assert (random.layers, random.quantization, random.context_length) == (4, "F32", 4096)
    assert random.file_bytes == (tmp_path / "r.gguf").stat().st_size


def test_the_command_writes_the_same_files(tmp_path: Path) -> None:
    write_scripted(tmp_path / "call.gguf", "q2", file_type="q8_0")
    write_random(tmp_path / "noise.gguf", "tiny", seed=5, mean_reply_tokens=9)
    scripted, random = tmp_path / "command.gguf", tmp_path / "random.gguf"

    statuses = [
        main(["--kind", "scripted", "--name", "q2", "--type", "q8_0", "-o", str(scripted)]),
        main(["--seed", "5", "--mean-reply", "9", "-o", str(random)]),
    ]

    assert statuses == [0, 0]
    assert scripted.read_bytes() == (tmp_path / "call.gguf").read_bytes()
    assert random.read_bytes() == (tmp_path / "noise.gguf").read_bytes()
