"""Small GGUF files made by hand, so that what reads them is tested against the format itself.

They hold a header as a language model's and one tensor of random bytes; nothing can serve them.
"""

import random
import struct
from collections.abc import Mapping

MAGIC = b"GGUF"
ALIGNMENT = 32
U32, STRING = 4, 8
Q8_0, Q8_0_VALUES, Q8_0_BYTES = 8, 32, 34
MOSTLY_Q8_0 = 7


def gguf_file(
    *,
    blocks: int = 64,
    seed: int = 0,
    version: int = 3,
    split: tuple[int, int] | None = None,
    keys: Mapping[str, int | str] | None = None,
) -> bytes:
    """Return a whole file.

    Args:
        blocks: Size of its tensor, in blocks of 34 bytes.
        seed: Files of different seeds differ.
        version: Of the format.
        split: Number of this shard from 0, and how many there are.
        keys: Metadata beside or in place of the usual.
    """
    values: dict[str, int | str] = {
        "general.architecture": "llama",
        "general.file_type": MOSTLY_Q8_0,
        "llama.block_count": 2,
        "llama.context_length": 4096,
        "llama.embedding_length": 64,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.vocab_size": 100,
    }
    if split is not None:
        values |= {"split.no": split[0], "split.count": split[1]}
    values |= keys or {}
    top = MAGIC + struct.pack("<IQQ", version, 1, len(values))
    top += b"".join(_string(key) + _value(value) for key, value in values.items())
    shape = struct.pack("<IQ", 1, blocks * Q8_0_VALUES)
    top += _string("token_embd.weight") + shape + struct.pack("<IQ", Q8_0, 0)
    top += bytes(-len(top) % ALIGNMENT)
    return top + random.Random(seed).randbytes(blocks * Q8_0_BYTES)  # noqa: S311 # no secret


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _value(value: int | str) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value)
    return struct.pack("<II", U32, value)
