"""Estimates what one replica of a tier takes in memory, from its model's header.

Called by the operator, which requests that much, and by local mode, which shows it. The sum counts
everything as host memory: where all layers go to a GPU, the weights and the KV cache leave it.
Not in it: a projector, a draft model, adapters.
"""

from dataclasses import dataclass
from typing import Final

from tiergarten_api import llama
from tiergarten_api.ggml import CACHE_PACKINGS, Packing
from tiergarten_api.gguf import SLIDING_PERIODS, Header
from tiergarten_api.v1alpha1 import ModelTierSpec

MIB: Final = 1 << 20
COMPUTE_BYTES: Final = 300 * MIB  # graph and scratch buffers, beyond the logits
OVERHEAD_BYTES: Final = 256 * MIB  # program, HTTP threads, tokenizer, allocator
PAD_TOKENS: Final = 256  # llama.cpp rounds the cells of a cache up to it

# Architectures with one plain KV cache over all layers. Others may have recurrent layers, shared
# caches or compressed keys: for them the full cache is an upper bound, and `exact` says so.
_NAMES = (
    "apertus arcee baichuan bloom chatglm command-r dbrx deepseek dots1 ernie4_5 ernie4_5-moe "
    "exaone falcon gemma glm4 gpt2 gptneox granite granitemoe grok hunyuan-dense hunyuan-moe "
    "internlm2 jais llama minicpm mistral3 mpt nemotron olmo olmoe orion phi2 phi3 phimoe qwen "
    "qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe refact seed_oss smollm3 stablelm "
    "starcoder starcoder2 xverse"
)
PLAIN: Final = frozenset(_NAMES.split())


@dataclass(frozen=True, slots=True)
class Memory:
    """What one replica takes, in bytes.

    Attributes:
        weights_bytes: The model. With mmap it is page cache: reclaimable, and slow when reclaimed.
        kv_cache_bytes: Keys and values of every slot's whole context.
        compute_bytes: Buffers of one batch.
        prompt_cache_bytes: Limit of the cache of prompts that lost their slot.
        overhead_bytes: The program itself.
        exact: False where the architecture is not known well enough; the estimate is too high then
            rather than too low.
    """

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    prompt_cache_bytes: int
    overhead_bytes: int
    exact: bool

    @property
    def total_bytes(self) -> int:
        """The sum: what a pod should request."""
        return (
            self.weights_bytes
            + self.kv_cache_bytes
            + self.compute_bytes
            + self.prompt_cache_bytes
            + self.overhead_bytes
        )


def estimate(header: Header, spec: ModelTierSpec) -> Memory:
    """Return what a replica takes.

    Args:
        header: The model's header; of a split model, the `gguf.combined` one.
        spec: The tier that serves it.
    """
    return Memory(
        weights_bytes=header.tensor_bytes,
        kv_cache_bytes=_kv_cache(header, spec),
        compute_bytes=COMPUTE_BYTES + 4 * llama.ubatch_tokens(spec) * header.vocab_size,
        prompt_cache_bytes=spec.runtime.prompt_cache_mib * MIB,
        overhead_bytes=OVERHEAD_BYTES,
        exact=header.architecture in PLAIN or header.architecture in SLIDING_PERIODS,
    )


def _kv_cache(header: Header, spec: ModelTierSpec) -> int:
    slots = spec.runtime.parallel
    slot_tokens = _padded(spec.runtime.context_length // slots)
    # A window is kept for each slot, with room for the batch that moves it on.
    window = _padded(min(slot_tokens, header.sliding_window + llama.ubatch_tokens(spec)))
    slides = header.architecture in SLIDING_PERIODS  # llama.cpp ignores other models' windows
    keys = CACHE_PACKINGS[spec.runtime.kv_cache.k]
    values = CACHE_PACKINGS[spec.runtime.kv_cache.v]
    total = 0
    for heads, sliding in zip(header.heads_kv, header.sliding_layers, strict=True):
        row = _row(heads * header.key_length, keys) + _row(heads * header.value_length, values)
        total += slots * (window if sliding and slides else slot_tokens) * row
    return total


def _row(values: int, packing: Packing) -> int:
    """Return the bytes of one token's keys or values in one layer."""
    return -(-values // packing.values) * packing.size_bytes


def _padded(tokens: int) -> int:
    return -(-tokens // PAD_TOKENS) * PAD_TOKENS
