"""Builds llama-server's command line from a ModelTier: the only place that does.

A pod, a local process and a test start the same server with it. Flags change between builds of
llama.cpp and an unknown one is fatal, so each flag here is one that builds 11434 to 11669 take, and
what their defaults already say is left out. `--load-mode` came with the last builds before 11434:
a tier that asks for another mode than mmap needs an image at least as new, and an older one ends
with "invalid argument: --load-mode" rather than with another mode than was asked for.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from tiergarten_api import extras
from tiergarten_api.labels import PORT
from tiergarten_api.v1alpha1 import ModelTierSpec, quantity

SSE_PING_SECONDS: Final = 5  # a stop notices a stream that is left at the next ping
UBATCH_TOKENS: Final = 512  # llama-server's own default
EMBEDDING_TOKENS: Final = 2048  # an input for embeddings must fit one batch


def argv(  # noqa: PLR0913 -- one keyword for each role that a file may have
    spec: ModelTierSpec,
    model_path: str,
    *,
    host: str = "0.0.0.0",  # noqa: S104 -- a pod is reached at an address that it does not choose
    port: int = PORT,
    projector: str | None = None,
    draft: str | None = None,
    adapters: Sequence[str] = (),
) -> list[str]:
    """Return llama-server's arguments, without the program's name.

    Args:
        spec: The tier.
        model_path: The model's file, or the first of its parts.
        host: Address to listen at.
        port: Port to listen at.
        projector: File with the role Projector.
        draft: File with the role Draft.
        adapters: Files with the role Adapter.

    Raises:
        RefusedOption: An extra argument or variable is not allowed; see `extras`.
    """
    extras.check(spec.runtime)
    return [
        *("--host", host, "--port", str(port)),
        *("--model", model_path, "--alias", spec.model.name),
        *_files(projector, draft, adapters),
        *_slots(spec),
        *_compute(spec),
        *_embeddings(spec),
        *extras.split(spec.runtime.extra_args or ()),
    ]


def ubatch_tokens(spec: ModelTierSpec) -> int:
    """Return how many tokens are computed at once, which decides the size of buffers."""
    given = list(extras.split(spec.runtime.extra_args or ()))
    for flag, value in reversed(list(pairwise(given))):
        if extras.flag_of(flag) in {"-ub", "--ubatch-size"} and value.isdecimal():
            return int(value)
    if not spec.runtime.embeddings:
        return UBATCH_TOKENS
    slot = spec.runtime.context_length // spec.runtime.parallel
    return max(UBATCH_TOKENS, min(slot, EMBEDDING_TOKENS))


def _files(projector: str | None, draft: str | None, adapters: Sequence[str]) -> Iterator[str]:
    if projector is not None:
        yield from ("--mmproj", projector)
    if draft is not None:
        yield from ("--spec-type", "draft-simple", "--spec-draft-model", draft)
    if adapters:
        yield from ("--lora", ",".join(adapters))


def _slots(spec: ModelTierSpec) -> Iterator[str]:
    runtime = spec.runtime
    yield from ("--ctx-size", str(runtime.context_length))
    yield from ("--parallel", str(runtime.parallel))
    yield from ("--metrics", "--slots", "--no-ui")
    # A burst must not take all threads, or /health hangs and the kubelet restarts a healthy pod.
    yield from ("--threads-http", str(max(64, runtime.parallel + 8)))
    yield from ("--cache-ram", str(runtime.prompt_cache_mib))
    yield from ("--sse-ping-interval", str(SSE_PING_SECONDS))
    if not extras.has(runtime.extra_args or (), "--cors-origins"):
        yield from ("--cors-origins", "localhost")  # else any web page may ask, with credentials


def _compute(spec: ModelTierSpec) -> Iterator[str]:
    runtime = spec.runtime
    yield from ("--flash-attn", runtime.flash_attention)
    for flag, kind in (("k", runtime.kv_cache.k), ("v", runtime.kv_cache.v)):
        if kind != "f16":
            yield from (f"--cache-type-{flag}", kind)
    if runtime.gpu_layers is not None:
        yield from ("--n-gpu-layers", str(runtime.gpu_layers))
    if threads := runtime.threads or _cpus(spec):
        yield from ("--threads", str(threads))
    if runtime.load_mode != "mmap":
        yield from ("--load-mode", runtime.load_mode)


def _cpus(spec: ModelTierSpec) -> int | None:
    """Return the CPU limit in whole cores; llama-server itself counts those of the whole node."""
    limit = ((spec.resources and spec.resources.limits) or {}).get("cpu")
    return None if limit is None else max(1, quantity.whole(limit))


def _embeddings(spec: ModelTierSpec) -> Iterator[str]:
    if not spec.runtime.embeddings:
        return
    given = spec.runtime.extra_args or ()
    yield "--embeddings"
    if not extras.has(given, "--pooling"):
        yield from ("--pooling", "mean")
    for names in (("-b", "--batch-size"), ("-ub", "--ubatch-size")):
        if not extras.has(given, *names):
            yield from (names[1], str(ubatch_tokens(spec)))
