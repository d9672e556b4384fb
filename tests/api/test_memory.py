"""The estimate is what llama.cpp allocates, by hand-computed examples and by properties."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_process import LlamaProcess
from tiergarten_api import gguf, memory
from tiergarten_api.gguf import Header
from tiergarten_api.v1alpha1 import ModelTierSpec

MIB = 1 << 20
GIB = 1 << 30


def spec_of(**runtime: object) -> ModelTierSpec:
    model = {"name": "m", "source": {"volume": {"claimName": "models"}}}
    return ModelTierSpec.model_validate({"model": model, "runtime": runtime})


def header_of(architecture: str, layers: int, heads_kv: int, length: int) -> Header:
    return Header(
        version=3,
        architecture=architecture,
        layers=layers,
        heads_kv=(heads_kv,) * layers,
        key_length=length,
        value_length=length,
        context_length=40_960,
        vocab_size=151_936,
        embedding_length=4096,
        sliding_window=0,
        sliding_layers=(False,) * layers,
        quantization="Q4_K_M",
        tensor_bytes=5 * GIB,
        parameters=8_000_000_000,
        split_count=1,
        split_no=0,
        file_bytes=5 * GIB,
    )


QWEN3_8B = header_of("qwen3", layers=36, heads_kv=8, length=128)
GEMMA3_4B = replace(
    header_of("gemma3", layers=34, heads_kv=4, length=256),
    sliding_window=1024,
    sliding_layers=tuple(layer % 6 < 5 for layer in range(34)),
)


def test_qwen3_8b_takes_144_kib_of_cache_a_token() -> None:
    estimate = memory.estimate(QWEN3_8B, spec_of(contextLength=8192))

    assert estimate.kv_cache_bytes == 1152 * MIB
    assert estimate.weights_bytes == 5 * GIB
    assert estimate.compute_bytes == 300 * MIB + 4 * 512 * 151_936
    assert estimate.prompt_cache_bytes == 256 * MIB
    assert estimate.overhead_bytes == 256 * MIB
    assert estimate.total_bytes == 5 * GIB + 1964 * MIB + 4 * 512 * 151_936
    assert estimate.exact


@pytest.mark.parametrize(
    ("keys", "values", "mib"),
    [
        pytest.param("f32", "f16", 576 * 3, id="f32 f16"),
        pytest.param("bf16", "bf16", 1152, id="bf16"),
        pytest.param("q8_0", "q8_0", 612, id="q8_0"),
        pytest.param("q8_0", "q4_0", 306 + 162, id="q8_0 q4_0"),
        pytest.param("q5_1", "q5_0", 216 + 198, id="q5"),
        pytest.param("q4_1", "iq4_nl", 180 + 162, id="q4"),
    ],
)
def test_a_quantised_cache_takes_what_its_blocks_take(keys: str, values: str, mib: int) -> None:
    spec = spec_of(contextLength=8192, kvCache={"k": keys, "v": values})

    assert memory.estimate(QWEN3_8B, spec).kv_cache_bytes == mib * MIB


def test_sliding_layers_keep_a_window_for_each_slot_with_room_for_a_batch() -> None:
    spec = spec_of(contextLength=32_768, parallel=2)

    row = 2 * 4 * 256 * 2  # keys and values of a token in one layer, in bytes
    full, window = 5 * 16_384, 29 * (1024 + 512)
    assert memory.estimate(GEMMA3_4B, spec).kv_cache_bytes == 2 * (full + window) * row


def test_a_window_that_llama_cpp_ignores_counts_in_full() -> None:
    spec = spec_of(contextLength=8192)
    ignored = replace(QWEN3_8B, sliding_window=1024, sliding_layers=(True,) * 36)

    assert memory.estimate(ignored, spec) == memory.estimate(QWEN3_8B, spec)


def test_layers_without_a_cache_count_nothing_and_an_unknown_architecture_says_so() -> None:
    hybrid = replace(QWEN3_8B, architecture="jamba", heads_kv=(8, 0, 0) * 12)

    estimate = memory.estimate(hybrid, spec_of(contextLength=8192))

    assert estimate.kv_cache_bytes == 1152 * MIB // 3
    assert not estimate.exact


def test_each_slot_is_rounded_up_as_llama_cpp_does() -> None:
    spec = spec_of(contextLength=1000, parallel=3)  # 333 tokens a slot become 512

    assert memory.estimate(QWEN3_8B, spec).kv_cache_bytes == 3 * 512 * 144 * 1024


contexts = st.integers(256, 1 << 20)
headers = st.sampled_from([QWEN3_8B, GEMMA3_4B])


@given(headers, contexts, contexts, st.integers(1, 256))
def test_a_longer_context_never_takes_less(
    header: Header, one: int, other: int, slots: int
) -> None:
    shorter, longer = sorted((max(one, slots * 256), max(other, slots * 256)))

    less = memory.estimate(header, spec_of(contextLength=shorter, parallel=slots))
    more = memory.estimate(header, spec_of(contextLength=longer, parallel=slots))

    assert less.total_bytes <= more.total_bytes


@given(st.integers(0, 1 << 20))
def test_the_prompt_cache_counts_as_it_is_set(mib: int) -> None:
    estimate = memory.estimate(QWEN3_8B, spec_of(promptCacheMiB=mib))

    assert estimate.prompt_cache_bytes == mib * MIB


@pytest.mark.parametrize(
    "runtime",
    [
        pytest.param({"contextLength": 8192, "parallel": 4}, id="plain"),
        pytest.param({"contextLength": 1000, "parallel": 3}, id="rounded"),
        pytest.param(
            {"contextLength": 4096, "parallel": 1, "kvCache": {"k": "q8_0", "v": "q4_0"}},
            id="quantised",
        ),
    ],
)
def test_llama_cpp_allocates_the_cache_that_was_estimated(
    runtime: dict[str, object],
    random_model: Callable[[str], Path],
    llama_server: Callable[..., LlamaProcess],
) -> None:
    file = random_model("small")
    spec = spec_of(**runtime)
    header = gguf.read_header(io.BytesIO(file.read_bytes()))

    cache = spec.runtime.kv_cache
    server = llama_server(
        file,
        *("--ctx-size", str(spec.runtime.context_length)),
        *("--parallel", str(spec.runtime.parallel)),
        *("--cache-type-k", cache.k, "--cache-type-v", cache.v, "--verbosity", "4"),
    )
    said = re.search(r"llama_kv_cache: size = +([\d.]+) MiB", server.log())

    assert said, server.log()
    estimated = memory.estimate(header, spec).kv_cache_bytes / MIB
    assert float(said[1]) == pytest.approx(estimated, abs=0.01)


def test_weights_are_the_bytes_of_the_tensors_in_the_file(
    scripted_model: Callable[[str], Path],
) -> None:
    content = scripted_model("small").read_bytes()
    header = gguf.read_header(io.BytesIO(content))

    weights = memory.estimate(header, spec_of()).weights_bytes

    assert weights == header.tensor_bytes
    assert 0.98 * len(content) < weights < len(content)
