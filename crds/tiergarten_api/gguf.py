"""Reads what a GGUF file says of the model in it, from its header alone.

Called by the fetcher (is it a model at all, and all of it?), by the memory estimate and by status.
It reads a stream from its start and needs neither numpy nor the rest of the file: a vocabulary of
150,000 tokens is passed over in a fraction of a second. Reading within bounds is `gguf_cursor`.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import BinaryIO, Final

from tiergarten_api.ggml import FILE_TYPES, PACKINGS, Packing
from tiergarten_api.gguf_cursor import MAX_KEY_BYTES, Counted, Cursor, NotGGUF, Value

__all__ = ["Header", "NotGGUF", "combined", "read_header"]

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)  # llama.cpp dropped version 1
MAX_KEYS: Final = 65_536
MAX_TENSORS: Final = 1_000_000
MAX_LAYERS: Final = 4_096
MAX_DIMENSIONS: Final = 4
MAX_BYTES: Final = 1 << 50  # of tensors: a pebibyte
ALIGNMENT: Final = 32
GUESSED: Final = 1024  # flag in general.file_type: the writer was not sure
UNKNOWN: Final = 1 << 20  # no file type
# How often a layer of full attention comes, where the file does not say: as in llama.cpp.
SLIDING_PERIODS: Final = {"gemma2": 2, "gemma3": 6, "gpt-oss": 2, "cohere2": 4}


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says of itself.

    Attributes:
        version: Version of the format.
        architecture: Name such as `qwen3`; empty in the later parts of a split model.
        layers: Transformer blocks; 0 where the file describes no language model.
        heads_kv: Key and value heads of each layer; 0 where a layer has no KV cache.
        key_length: Values in one head's key.
        value_length: Values in one head's value.
        context_length: Longest context that it was trained for, in tokens; 0 if unknown.
        vocab_size: Tokens in its vocabulary; 0 if unknown.
        embedding_length: Width of its hidden state.
        sliding_window: Tokens that its sliding-window layers look back; 0 without such layers.
        sliding_layers: For each layer, whether it looks back only that far.
        quantization: What users call its data types, such as `Q4_K_M`; None if unknown.
        tensor_bytes: Size of its weights.
        parameters: How many weights it has.
        split_count: Files that the model is split into; 1 for a whole model.
        split_no: Which of them this is, from 0.
        file_bytes: Size of the whole file at least; a smaller file was cut.
    """

    version: int
    architecture: str
    layers: int
    heads_kv: tuple[int, ...]
    key_length: int
    value_length: int
    context_length: int
    vocab_size: int
    embedding_length: int
    sliding_window: int
    sliding_layers: tuple[bool, ...]
    quantization: str | None
    tensor_bytes: int
    parameters: int
    split_count: int
    split_no: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    parameters: int
    packing: Packing | None  # None for a type that this version does not know
    offset: int

    def size_bytes(self, next_offset: int | None) -> int:
        if self.packing is not None:
            return self.parameters // self.packing.values * self.packing.size_bytes
        if next_offset is not None:  # tensors lie one after the other
            return max(0, next_offset - self.offset)
        return self.parameters * 2  # the file's last one: no new type is larger than f16


class _Keys:
    """The header's metadata, by typed and checked access."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values
        self.architecture = self.text("general.architecture")

    def text(self, key: str) -> str:
        value = self._values.get(key, "")
        if not isinstance(value, str):
            raise NotGGUF(f"{key}: {value!r} is no text; the file is damaged")
        return value

    def number(self, key: str, default: int = 0, limit: int = 1 << 48) -> int:
        """Return a count; `{}` in the key stands for the architecture."""
        key = key.replace("{}", self.architecture)
        value = self._values.get(key, default)
        if not isinstance(value, int) or not 0 <= value <= limit:
            raise NotGGUF(f"{key}: {value!r} is not between 0 and {limit}; the file is damaged")
        return value

    def per_layer(self, key: str, layers: int, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return a count for each layer, given as one number for all or as an array."""
        key = key.replace("{}", self.architecture)
        value = self._values.get(key)
        if value is None:
            return default
        if not isinstance(value, tuple):
            return (self.number(key, limit=1 << 20),) * layers
        counts = tuple(item for item in value if isinstance(item, int) and 0 <= item < 1 << 20)
        if len(counts) != len(value) or len(counts) < layers:
            raise NotGGUF(f"{key}: not one count for each of {layers} layers; the file is damaged")
        return counts[:layers]

    def items(self, key: str) -> int:
        value = self._values.get(key)
        if isinstance(value, Counted):
            return value.items
        return len(value) if isinstance(value, tuple) else 0

    def sliding_layers(self, layers: int) -> tuple[bool, ...]:
        """Return for each layer whether its attention slides."""
        key = f"{self.architecture}.attention.sliding_window_pattern"
        default = SLIDING_PERIODS.get(self.architecture, 1)
        if isinstance(self._values.get(key), tuple):
            return tuple(bool(slides) for slides in self.per_layer(key, layers, ()))
        period = self.number(key, default, limit=MAX_LAYERS)
        return tuple(period == 0 or layer % period < period - 1 for layer in range(layers))


def read_header(stream: BinaryIO) -> Header:
    """Return what the header says; only the header's bytes are read, and a chunk beyond it.

    Args:
        stream: The file, from its first byte; it need not be seekable.

    Raises:
        NotGGUF: It is no GGUF file, is cut within the header, has another version or counts that
            no model has.
    """
    cursor = Cursor(stream)
    version = _version(cursor)
    tensor_count = cursor.count("tensors", MAX_TENSORS)
    key_count = cursor.count("keys", MAX_KEYS)
    keys = _Keys(_metadata(cursor, key_count))
    tensors = [_tensor(cursor) for _ in range(tensor_count)]
    header = _described(keys, version)
    alignment = keys.number("general.alignment", ALIGNMENT, limit=1 << 20) or ALIGNMENT
    sizes = _sizes(tensors)
    begin = -(-cursor.position // alignment) * alignment
    ends = (begin + tensor.offset + size for tensor, size in zip(tensors, sizes, strict=True))
    return replace(
        header,
        tensor_bytes=sum(sizes),
        parameters=sum(tensor.parameters for tensor in tensors),
        file_bytes=max(ends, default=cursor.position),
    )


def combined(headers: Sequence[Header]) -> Header:
    """Return the header of a model that is split into several files.

    Args:
        headers: One for each file, in any order; a whole model is a sequence of one.

    Raises:
        NotGGUF: Files are missing, are given twice, or belong to different models.
    """
    parts = sorted(headers, key=lambda header: header.split_no)
    count = len(parts)
    if not parts or any(
        (part.split_no, part.split_count) != (place, count) for place, part in enumerate(parts)
    ):
        found = ", ".join(f"{part.split_no + 1} of {part.split_count}" for part in parts)
        raise NotGGUF(f"the parts of the model are {found or 'missing'}; name each part once")
    return replace(
        parts[0],
        tensor_bytes=sum(part.tensor_bytes for part in parts),
        parameters=sum(part.parameters for part in parts),
        file_bytes=sum(part.file_bytes for part in parts),
    )


def _version(cursor: Cursor) -> int:
    magic = cursor.take(4)
    if magic != MAGIC:
        raise NotGGUF(f"it begins with {magic!r} and not with {MAGIC!r}")
    version = cursor.take(4)
    number = int.from_bytes(version, "little")
    if number in VERSIONS:
        return number
    if int.from_bytes(version, "big") in VERSIONS:
        raise NotGGUF("it is a big-endian GGUF file; convert it with gguf-convert-endian")
    raise NotGGUF(f"GGUF version {number} is not supported; convert it to version {VERSIONS[-1]}")


def _metadata(cursor: Cursor, count: int) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for _ in range(count):
        key = cursor.string("a key", MAX_KEY_BYTES)
        if key in values:
            raise NotGGUF(f"the key {key} is there twice; the file is damaged")
        values[key] = cursor.value(key)
    return values


def _tensor(cursor: Cursor) -> _Tensor:
    name = cursor.string("a tensor's name", MAX_KEY_BYTES)
    dimensions = int(cursor.number(4))
    if dimensions > MAX_DIMENSIONS:
        raise NotGGUF(f"{name}: {dimensions} dimensions are more than {MAX_DIMENSIONS}")
    shape = [cursor.count(f"values of {name}", MAX_BYTES) for _ in range(dimensions)]
    packing = PACKINGS.get(int(cursor.number(4)))
    offset = cursor.count(f"offset of {name}", MAX_BYTES)
    if prod(shape) > MAX_BYTES:
        raise NotGGUF(f"{name}: {shape} is larger than any model; the file is damaged")
    if packing and shape and shape[0] % packing.values:
        raise NotGGUF(f"{name}: rows of {shape[0]} do not fill blocks of {packing.values}")
    return _Tensor(prod(shape), packing, offset)


def _sizes(tensors: Sequence[_Tensor]) -> list[int]:
    """Return each tensor's size in bytes."""
    offsets = sorted({tensor.offset for tensor in tensors})
    following = dict(itertools.pairwise(offsets))
    return [tensor.size_bytes(following.get(tensor.offset)) for tensor in tensors]


def _described(keys: _Keys, version: int) -> Header:
    """Return what the metadata says, without the tensors."""
    split_no = keys.number("split.no", limit=65_535)
    if not keys.architecture and not split_no:
        raise NotGGUF("general.architecture is missing: it holds no model")
    layers = keys.number("{}.block_count", limit=MAX_LAYERS)
    embedding = keys.number("{}.embedding_length")
    heads = keys.per_layer("{}.attention.head_count", layers, (0,) * layers)
    head = embedding // max(heads, default=0) if any(heads) else 0
    window = keys.number("{}.attention.sliding_window")
    return Header(
        version=version,
        architecture=keys.architecture,
        layers=layers,
        heads_kv=keys.per_layer("{}.attention.head_count_kv", layers, heads),
        key_length=keys.number("{}.attention.key_length", head, limit=1 << 20),
        value_length=keys.number("{}.attention.value_length", head, limit=1 << 20),
        context_length=keys.number("{}.context_length"),
        vocab_size=keys.items("tokenizer.ggml.tokens") or keys.number("{}.vocab_size"),
        embedding_length=embedding,
        sliding_window=window,
        sliding_layers=keys.sliding_layers(layers) if window else (False,) * layers,
        quantization=FILE_TYPES.get(keys.number("general.file_type", UNKNOWN) & ~GUESSED),
        tensor_bytes=0,
        parameters=0,
        split_count=keys.number("split.count", 1, limit=65_535) or 1,
        split_no=split_no,
        file_bytes=0,
    )
