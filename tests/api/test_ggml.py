"""The tables agree with the `gguf` package, which follows llama.cpp."""

import gguf
import pytest

from tiergarten_api import ggml


@pytest.mark.parametrize("kind", sorted(gguf.GGML_QUANT_SIZES), ids=lambda kind: kind.name)
def test_every_type_has_the_size_that_the_gguf_package_gives_it(
    kind: gguf.GGMLQuantizationType,
) -> None:
    assert ggml.PACKINGS[kind.value] == gguf.GGML_QUANT_SIZES[kind]


def test_every_file_type_has_the_name_that_users_know() -> None:
    named = {
        kind.value: kind.name.removeprefix("MOSTLY_").removeprefix("ALL_")
        for kind in gguf.LlamaFileType
        if kind is not gguf.LlamaFileType.GUESSED
    }

    assert named == ggml.FILE_TYPES


@pytest.mark.parametrize("name", sorted(ggml.CACHE_PACKINGS))
def test_every_cache_type_is_the_data_type_of_its_name(name: str) -> None:
    kind = gguf.GGMLQuantizationType[name.upper()]

    assert ggml.CACHE_PACKINGS[name] == gguf.GGML_QUANT_SIZES[kind]
