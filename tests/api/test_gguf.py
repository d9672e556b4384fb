"""A header is read as the `gguf` package reads it, and a damaged one is refused by name."""

import contextlib
import io
import struct
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gguf as reference
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiergarten_api import gguf
from tiergarten_api.gguf import Header, NotGGUF

Fill = Callable[[reference.GGUFWriter], object]


def written(fill: Fill, architecture: str = "qwen3") -> bytes:
    """Return a file that the `gguf` package wrote."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.gguf")
        writer = reference.GGUFWriter(path, architecture)
        fill(writer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def header_of(content: bytes) -> Header:
    return gguf.read_header(io.BytesIO(content))


def qwen(writer: reference.GGUFWriter) -> None:
    """Write the metadata of a small Qwen3, with two weights."""
    writer.add_block_count(3)
    writer.add_context_length(40960)
    writer.add_embedding_length(64)
    writer.add_head_count(8)
    writer.add_head_count_kv(2)
    writer.add_key_length(16)
    writer.add_value_length(24)
    writer.add_file_type(reference.LlamaFileType.MOSTLY_Q4_K_M)
    writer.add_token_list(["a", "b", "c"])
    writer.add_token_scores([0.0, 1.0, 2.0])
    writer.add_chat_template("{{ messages }}")
    writer.add_tensor("token_embd.weight", np.zeros((3, 64), np.float16))
    writer.add_tensor("output_norm.weight", np.zeros(64, np.float32))


QWEN = written(qwen)


def test_a_header_says_what_was_written() -> None:
    header = header_of(QWEN)

    assert header == Header(
        version=3,
        architecture="qwen3",
        layers=3,
        heads_kv=(2, 2, 2),
        key_length=16,
        value_length=24,
        context_length=40960,
        vocab_size=3,
        embedding_length=64,
        sliding_window=0,
        sliding_layers=(False, False, False),
        quantization="Q4_K_M",
        tensor_bytes=3 * 64 * 2 + 64 * 4,
        parameters=4 * 64,
        split_count=1,
        split_no=0,
        file_bytes=len(QWEN),
    )


def bare(writer: reference.GGUFWriter) -> None:
    writer.add_block_count(2)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_vocab_size(100)


def test_what_a_file_leaves_out_follows_from_the_rest_as_in_llama_cpp() -> None:
    header = header_of(written(bare))

    assert (header.heads_kv, header.key_length, header.value_length) == ((4, 4), 16, 16)
    assert header.vocab_size == 100
    assert header.quantization is None
    assert header.tensor_bytes == 0


def test_a_file_of_another_kind_has_no_layers() -> None:
    header = header_of(written(lambda _: None, architecture="clip"))

    assert (header.layers, header.heads_kv, header.key_length) == (0, (), 0)


@pytest.mark.parametrize(
    ("architecture", "pattern", "sliding"),
    [
        pytest.param("gemma3", None, "SSSSS.SS", id="known architecture"),
        pytest.param("gpt-oss", None, "S.S.S.S.", id="another period"),
        pytest.param("llama", None, "........", id="unknown architecture"),
        pytest.param("gemma3", 3, "SS.SS.SS", id="period in the file"),
        pytest.param("gemma3", 0, "SSSSSSSS", id="all layers"),
        pytest.param("gemma4", [True, False] * 4, "S.S.S.S.", id="layers in the file"),
    ],
)
def test_sliding_layers_come_from_the_file_or_the_architecture(
    architecture: str, pattern: int | list[bool] | None, sliding: str
) -> None:
    def fill(writer: reference.GGUFWriter) -> None:
        writer.add_block_count(8)
        writer.add_sliding_window(512)
        if isinstance(pattern, list):
            writer.add_sliding_window_pattern(pattern)
        elif pattern is not None:
            writer.add_uint32(f"{architecture}.attention.sliding_window_pattern", pattern)

    header = header_of(written(fill, architecture))

    assert header.sliding_window == 512
    assert header.sliding_layers == tuple(letter == "S" for letter in sliding)


@settings(max_examples=40, deadline=None)
@given(
    layers=st.integers(1, 6),
    heads=st.lists(st.integers(0, 64), min_size=6, max_size=6),
    tokens=st.lists(st.text(max_size=20), min_size=1, max_size=50),
    shapes=st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), max_size=6),
    kinds=st.lists(st.sampled_from(sorted(reference.GGML_QUANT_SIZES)), min_size=6, max_size=6),
)
def test_a_header_agrees_with_the_gguf_package(
    layers: int,
    heads: list[int],
    tokens: list[str],
    shapes: list[list[int]],
    kinds: list[reference.GGMLQuantizationType],
) -> None:
    def fill(writer: reference.GGUFWriter) -> None:
        writer.add_block_count(layers)
        writer.add_head_count_kv(heads[:layers])
        writer.add_token_list(tokens)
        for number, (shape, kind) in enumerate(zip(shapes, kinds, strict=False)):
            row = reference.GGML_QUANT_SIZES[kind][1]
            raw = np.zeros([*shape[1:], shape[0] * row], np.uint8)
            writer.add_tensor(f"blk.{number}.weight", raw, raw_dtype=kind)

    content = written(fill)
    header = header_of(content)

    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        tensors = reference.GGUFReader(file.name).tensors
        assert header.tensor_bytes == sum(int(tensor.n_bytes) for tensor in tensors)
        assert header.parameters == sum(int(tensor.n_elements) for tensor in tensors)
        ends = [int(tensor.data_offset + tensor.n_bytes) for tensor in tensors]
    assert header.heads_kv == tuple(heads[:layers])
    assert header.vocab_size == len(tokens)
    assert header.file_bytes == max(ends, default=header.file_bytes) <= len(content)


def test_a_header_that_is_cut_anywhere_is_refused() -> None:
    end = len(QWEN) - header_of(QWEN).tensor_bytes - 32  # before the padding
    for size in range(end):
        with pytest.raises(NotGGUF):
            header_of(QWEN[:size])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_header_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    content = bytearray(QWEN)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(4, len(content) - 9))
        content[place : place + 8] = data.draw(st.binary(min_size=1, max_size=8))

    with contextlib.suppress(NotGGUF):
        assert header_of(bytes(content)).tensor_bytes >= 0


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(NotGGUF):
        header_of(b"GGUF" + content)


def test_only_the_header_is_read() -> None:
    stream = io.BytesIO(QWEN + bytes(64 << 20))

    gguf.read_header(stream)

    assert stream.tell() < 1 << 20


def test_a_vocabulary_of_150000_tokens_is_passed_over_quickly() -> None:
    def fill(writer: reference.GGUFWriter) -> None:
        qwen(writer)
        writer.add_token_merges([f"token {number}" for number in range(150_000)])
        writer.add_token_types([1] * 150_000)

    content = written(fill)

    begun = time.process_time()
    header_of(content)
    assert time.process_time() - begun < 0.3


def start(version: int = 3, tensors: int = 0, keys: int = 0, order: str = "<") -> bytes:
    return b"GGUF" + struct.pack(f"{order}IQQ", version, tensors, keys)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def entry(key: str, value: str | int) -> bytes:
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    return text(key) + struct.pack("<Iq", 11, value)


def tensor(shape: list[int], kind: int = 0, offset: int = 0) -> bytes:
    head = text("w") + struct.pack("<I", len(shape))
    return head + struct.pack(f"<{len(shape)}QIQ", *shape, kind, offset)


MODEL = entry("general.architecture", "llama")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "ends after 0 bytes", id="empty"),
        pytest.param(b"<!DOCTYPE html>", "begins with b'<!DO'", id="a page"),
        pytest.param(start(version=1), "version 1 is not supported", id="old version"),
        pytest.param(start(version=4), "version 4 is not supported", id="new version"),
        pytest.param(start(order=">"), "big-endian", id="big-endian"),
        pytest.param(start(tensors=1 << 40), "tensors: 1099511627776", id="tensors"),
        pytest.param(start(keys=1 << 40), "keys: 1099511627776", id="keys"),
        pytest.param(start(), "general.architecture is missing", id="nothing in it"),
        pytest.param(start(keys=2) + MODEL * 2, "there twice", id="key twice"),
        pytest.param(
            start(keys=1) + entry("general.architecture", 7), "no text", id="architecture"
        ),
        pytest.param(
            start(keys=2) + MODEL + entry("llama.block_count", -1),
            "block_count: -1 is not between 0 and 4096",
            id="layers below 0",
        ),
        pytest.param(
            start(keys=2) + MODEL + entry("llama.block_count", "many"),
            "block_count: 'many' is not between",
            id="layers in words",
        ),
        pytest.param(
            start(keys=1, tensors=1) + MODEL + tensor([1] * 5), "5 dimensions", id="dimensions"
        ),
        pytest.param(
            start(keys=1, tensors=1) + MODEL + tensor([1 << 30, 1 << 30]),
            "larger than any model",
            id="shape",
        ),
        pytest.param(
            start(keys=1, tensors=1) + MODEL + tensor([100], kind=12),
            "rows of 100 do not fill blocks of 256",
            id="rows",
        ),
    ],
)
def test_a_refusal_says_what_is_wrong(content: bytes, message: str) -> None:
    with pytest.raises(NotGGUF, match=message):
        header_of(content)


def test_heads_that_are_not_given_for_every_layer_are_refused() -> None:
    def fill(writer: reference.GGUFWriter) -> None:
        writer.add_block_count(3)
        writer.add_head_count_kv([8, 8])

    with pytest.raises(NotGGUF, match="not one count for each of 3 layers"):
        header_of(written(fill))


def test_a_type_that_is_newer_than_this_counts_up_to_the_next_tensor() -> None:
    shapes = tensor([64], kind=900, offset=64) + tensor([64], kind=900) + tensor([0], 0, 320)
    header = header_of(start(keys=1, tensors=3) + MODEL + shapes)
    last = header_of(start(keys=1, tensors=1) + MODEL + tensor([64], kind=900))

    assert header.tensor_bytes == 64 + 256
    assert last.tensor_bytes == 64 * 2


def part(number: int, count: int) -> bytes:
    def fill(writer: reference.GGUFWriter) -> None:
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", count)
        if number == 0:
            bare(writer)
        writer.add_tensor(f"blk.{number}.weight", np.zeros(100 + number, np.float32))

    return written(fill)


def test_the_parts_of_a_split_model_are_one_model() -> None:
    parts = [header_of(part(number, 3)) for number in (2, 0, 1)]

    whole = gguf.combined(parts)

    assert whole.layers == 2
    assert whole.parameters == 303
    assert whole.tensor_bytes == 303 * 4
    assert gguf.combined([whole_model := header_of(QWEN)]) == whole_model


def test_a_later_part_needs_no_architecture() -> None:
    content = start(keys=2) + entry("split.no", 1) + entry("split.count", 2)

    assert header_of(content).architecture == ""


@pytest.mark.parametrize("numbers", [[], [0], [0, 0], [1, 2], [0, 1, 1]], ids=str)
def test_a_model_with_missing_parts_is_refused(numbers: list[int]) -> None:
    first = replace(header_of(QWEN), split_count=2)
    parts = [replace(first, split_no=number) for number in numbers]

    with pytest.raises(NotGGUF, match="name each part once"):
        gguf.combined(parts)
