"""Random networks: of any size, and yet they write words, end by themselves, and are harmless."""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from tiergarten_llama.models.text import corpus
from tiergarten_llama.models.tokenizer import LETTERS, Tokenizer
from tiergarten_llama.models.writer import Matrix, Network

MERGES: Final = 512
CONSTANT: Final = 10.0  # of the hidden state's first place
SPREAD: Final = 1.6  # standard deviation of the logits of words
NEVER: Final = -40.0  # logit of what is not a word

Draw = Callable[[int, int, float], Matrix]
"""Makes a random matrix of so many rows and columns, with a standard deviation."""


class Shape(NamedTuple):
    """Size of a random model."""

    width: int
    layers: int
    hidden: int
    heads: int
    heads_kv: int


PRESETS: Final = {
    "tiny": Shape(64, 2, 192, 4, 2),  # 0.2 M parameters
    "small": Shape(256, 4, 768, 4, 2),  # 3.5 M; rows of 256 take K-quants
    "medium": Shape(768, 8, 2048, 12, 4),  # 50 M
    "large": Shape(1280, 16, 3584, 20, 4),  # 280 M
}


def noise(preset: str, seed: int, mean_reply_tokens: float) -> Network:
    """Return a random network.

    Place 0 of the hidden state holds a large constant that nothing writes to. It outweighs the rest
    in every RMS norm, so that norms are nearly fixed factors, and it is the bias of the last layer:
    only words may come, and the end with a chosen probability.

    Args:
        preset: Its size.
        seed: Another one gives other weights.
        mean_reply_tokens: Length of replies on average.

    Raises:
        ValueError: There is no such preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset {preset!r} is not one of {', '.join(PRESETS)}")
    shape = PRESETS[preset]
    tokenizer = Tokenizer(corpus(), MERGES)
    source = np.random.Generator(np.random.PCG64(seed))

    def matrix(rows: int, columns: int, scale: float) -> Matrix:
        return source.standard_normal((rows, columns), dtype=np.float32) * np.float32(scale)

    embedding = matrix(len(tokenizer.tokens), shape.width, 1.0)
    embedding[:, 0] = CONSTANT * np.sqrt(shape.width)
    tensors = {"token_embd.weight": embedding}
    for layer in range(shape.layers):
        tensors |= _block(shape, layer, matrix)
    norm = _norm(shape, 1 + 1.4 * shape.layers)
    norm[0] = 1.0 / np.sqrt(shape.width)
    tensors["output_norm.weight"] = norm
    tensors["output.weight"] = _output(shape, tokenizer, mean_reply_tokens, matrix)
    return Network(tokenizer=tokenizer, rope_base=10_000.0, tensors=tensors, **shape._asdict())


def _norm(shape: Shape, variance: float) -> Matrix:
    """Return the weights of an RMS norm that leaves the constant out."""
    norm = np.full(shape.width, CONSTANT / np.sqrt(variance), np.float32)
    norm[0] = 0
    return norm


def _block(shape: Shape, layer: int, draw: Draw) -> dict[str, Matrix]:
    width, hidden = shape.width, shape.hidden
    values = shape.heads_kv * (width // shape.heads)
    by_width, by_hidden = float(width**-0.5), float(hidden**-0.5)
    tensors = {
        "attn_norm": _norm(shape, 1),
        "attn_q": draw(width, width, 1.5 * by_width),
        "attn_k": draw(values, width, 1.5 * by_width),
        "attn_v": draw(values, width, by_width),
        "attn_output": draw(width, width, by_width),
        "ffn_norm": _norm(shape, 1 + 2 * layer),
        "ffn_gate": draw(hidden, width, by_width),
        "ffn_up": draw(hidden, width, by_width),
        "ffn_down": draw(width, hidden, by_hidden),
    }
    for name in ("attn_output", "ffn_down"):
        tensors[name][0] = 0  # nothing writes to the constant
    return {f"blk.{layer}.{name}.weight": tensor for name, tensor in tensors.items()}


def _output(shape: Shape, tokenizer: Tokenizer, mean_reply_tokens: float, draw: Draw) -> Matrix:
    """Return the last layer: logits of words are random, and the end has its fixed one."""
    logits = draw(len(tokenizer.tokens), shape.width, SPREAD * float(shape.width**-0.5))
    words = [number for number, token in enumerate(tokenizer.tokens) if _is_word(token)]
    logits[:, 0] = NEVER
    logits[words, 0] = 0
    end = tokenizer.id["<|im_end|>"]
    logits[end] = 0
    # The sum of exp(N(0, s)) over n words is about n exp(s*s / 2), and the usual top-k of 40 keeps
    # about half of it.
    logits[end, 0] = np.log(len(words)) + SPREAD**2 / 2 - np.log(2 * mean_reply_tokens)
    return logits


def _is_word(token: str) -> bool:
    word = token.removeprefix(LETTERS[ord(" ")])
    return token in {",", "."} or (
        word != token and len(word) > 1 and word.isascii() and word.isalpha()
    )
