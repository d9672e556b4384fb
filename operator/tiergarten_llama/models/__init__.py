"""Writes small GGUF models, without a download, for the demo and the tests.

Two kinds. A *scripted* model answers in readable English that says which tier wrote it, and picks
the answer by keyword: for demos, and for tests that must see who answered. A *random* model writes
word salad of any size and speed: for load, latency and cache tests. Both are deterministic: the
same arguments give the same bytes. Needs numpy and gguf, so nothing else imports it at its top.

    python -m tiergarten_llama.models --kind scripted --name small -o small.gguf
"""

from pathlib import Path

from tiergarten_llama.models.noise import PRESETS, noise
from tiergarten_llama.models.scripted import script
from tiergarten_llama.models.text import TOPICS
from tiergarten_llama.models.writer import CONTEXT_TOKENS, write

__all__ = ["PRESETS", "write_random", "write_scripted"]


def write_scripted(
    path: Path, name: str, *, context_tokens: int = CONTEXT_TOKENS, file_type: str = "f16"
) -> None:
    """Write a model that answers in English, as the tier of that name.

    Args:
        path: The file; it is there whole or not at all.
        name: What the model calls itself in its answers: `q2`, `small`.
        context_tokens: Longest context that it claims to be trained for; works up to some 12,000.
        file_type: Type of its weights: f32, f16 or q8_0.

    Raises:
        ValueError: The name is such that an answer could not be told from another one.
    """
    write(path, script(name, TOPICS), f"scripted-{name}", context_tokens, file_type)


def write_random(
    path: Path,
    preset: str = "tiny",
    *,
    seed: int = 0,
    mean_reply_tokens: float = 48,
    context_tokens: int = CONTEXT_TOKENS,
    file_type: str = "f16",
) -> None:
    """Write a model that answers in word salad, which depends on the whole prompt.

    Args:
        path: The file; it is there whole or not at all.
        preset: Its size: tiny (0.4 MB), small (7 MB; K-quants and quantised KV caches work from
            here on), medium (103 MB, 2 ms a prompt token) or large (570 MB, loads for seconds).
        seed: Another one gives other weights.
        mean_reply_tokens: Length of replies that end by themselves, on average.
        context_tokens: Longest context that it claims to be trained for.
        file_type: Type of its weights: f32, f16 or q8_0.

    Raises:
        ValueError: There is no such preset.
    """
    network = noise(preset, seed, mean_reply_tokens)
    write(path, network, f"random-{preset}", context_tokens, file_type)
