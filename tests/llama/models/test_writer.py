"""A file holds what the network holds, whole or not at all."""

from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from tiergarten_llama.models.tokenizer import Tokenizer
from tiergarten_llama.models.writer import Network, write

NETWORK = Network(
    tokenizer=Tokenizer("a b", 4),
    width=64,
    layers=1,
    hidden=128,
    heads=4,
    heads_kv=2,
    rope_base=10_000.0,
    tensors={
        "matrix": np.ones((3, 64), np.float32),
        "exact": np.ones((3, 64), np.float32),
        "odd": np.ones((3, 50), np.float32),
        "vector": np.ones(64, np.float32),
    },
    exact=frozenset({"exact"}),
)


def types(file: Path) -> dict[str, str]:
    tensors = gguf.GGUFReader(file).tensors
    return {tensor.name: tensor.tensor_type.name for tensor in tensors}


@pytest.mark.parametrize(
    ("file_type", "matrix", "exact", "odd"),
    [("f32", "F32", "F32", "F32"), ("f16", "F16", "F16", "F16"), ("q8_0", "Q8_0", "F16", "F32")],
)
def test_matrices_get_the_wanted_type_and_vectors_stay_exact(
    file_type: str, matrix: str, exact: str, odd: str, tmp_path: Path
) -> None:
    file = tmp_path / "new folder" / "m.gguf"

    write(file, NETWORK, "name", 4096, file_type)

    assert types(file) == {"matrix": matrix, "exact": exact, "odd": odd, "vector": "F32"}
    assert list(file.parent.iterdir()) == [file]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.mkdir()  # nothing can be renamed to it

    with pytest.raises(IsADirectoryError):
        write(file, replace(NETWORK, tensors={}), "name", 4096, "f16")

    assert list(tmp_path.iterdir()) == [file]
