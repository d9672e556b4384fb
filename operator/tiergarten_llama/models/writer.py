"""Writes a network and its tokenizer as a GGUF file of the architecture `llama`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import gguf
import numpy as np
import numpy.typing as npt

from tiergarten_llama.models.tokenizer import SPECIAL, TOOLS, Tokenizer

Matrix = npt.NDArray[np.float32]

CONTEXT_TOKENS: Final = 32_768
Q8_ROW: Final = 32  # values in a block of q8_0
FILE_TYPES: Final = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}
TEMPLATE: Final = Path(__file__).with_name("chat_template.jinja")


@dataclass(frozen=True, slots=True)
class Network:
    """Everything of a model but its name.

    Attributes:
        tokenizer: Its tokens.
        width: Length of its hidden state.
        layers: Its blocks.
        hidden: Width of a feed-forward layer.
        heads: Query heads.
        heads_kv: Key and value heads.
        rope_base: Base of the rotary position encoding.
        tensors: Its weights by llama.cpp's names.
        exact: Weights that must keep at least 16 bits.
    """

    tokenizer: Tokenizer
    width: int
    layers: int
    hidden: int
    heads: int
    heads_kv: int
    rope_base: float
    tensors: Mapping[str, Matrix]
    exact: frozenset[str] = frozenset()


def write(path: Path, network: Network, name: str, context_tokens: int, file_type: str) -> None:
    """Write a model; the file is there whole or not at all.

    Args:
        path: The file.
        network: The model.
        name: Its name in the header.
        context_tokens: Trained context in the header.
        file_type: One of FILE_TYPES.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # others may write it as well
    writer = gguf.GGUFWriter(partial, "llama")
    _describe(writer, network, context_tokens)
    writer.add_name(name)
    writer.add_file_type(FILE_TYPES[file_type])
    _add_tokenizer(writer, network.tokenizer)
    for tensor, values in network.tensors.items():
        kind = "f16" if tensor in network.exact and file_type != "f32" else file_type
        _add(writer, tensor, values, kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _describe(writer: gguf.GGUFWriter, network: Network, context_tokens: int) -> None:
    writer.add_description("A small model for demos and tests. It knows nothing.")
    writer.add_license("apache-2.0")
    writer.add_vocab_size(len(network.tokenizer.tokens))
    writer.add_context_length(context_tokens)
    writer.add_embedding_length(network.width)
    writer.add_block_count(network.layers)
    writer.add_feed_forward_length(network.hidden)
    writer.add_head_count(network.heads)
    writer.add_head_count_kv(network.heads_kv)
    writer.add_rope_dimension_count(network.width // network.heads)
    writer.add_rope_freq_base(network.rope_base)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    kinds = [gguf.TokenType.NORMAL] * tokenizer.first_special
    kinds += [gguf.TokenType.CONTROL] * len(SPECIAL)
    kinds += [gguf.TokenType.USER_DEFINED] * len(TOOLS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokenizer.tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer.merges])
    writer.add_bos_token_id(tokenizer.id["<|endoftext|>"])
    writer.add_eos_token_id(tokenizer.id["<|im_end|>"])
    writer.add_eot_token_id(tokenizer.id["<|im_end|>"])
    writer.add_pad_token_id(tokenizer.id["<|pad|>"])
    writer.add_add_bos_token(value=False)
    writer.add_add_eos_token(value=False)
    writer.add_chat_template(TEMPLATE.read_text(encoding="utf-8"))


def _add(writer: gguf.GGUFWriter, name: str, values: Matrix, kind: str) -> None:
    """Add one tensor: vectors stay f32, matrices get the wanted type."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    if values.ndim == 1 or kind == "f32" or (kind == "q8_0" and values.shape[-1] % Q8_ROW):
        writer.add_tensor(name, values)
    elif kind == "f16":
        writer.add_tensor(name, values.astype(np.float16))
    else:
        q8_0 = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(values, q8_0), raw_dtype=q8_0)
