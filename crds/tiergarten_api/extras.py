"""Decides which options of llama-server a tier's user may add, and says why not.

The CRD refuses the worst of them; this refuses the rest: what Tiergarten sets from a field of its
own, and what reads or writes files, opens sockets, downloads or runs programs. `llama` asks before
it builds a command line, so neither a pod nor a local process is ever started with one of them.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from tiergarten_api.v1alpha1 import RuntimeSpec

ENV_PREFIX: Final = "LLAMA_ARG_"

_ELSEWHERE: Final = "leave it out: health checks, metrics and the router rely on it as it is"
_FILES: Final = "name the file in spec.model.files, with its role"

OWNED: Final[dict[str, str]] = {
    "-m": _FILES,
    "--model": _FILES,
    "-mm": _FILES,
    "--mmproj": _FILES,
    "-md": _FILES,
    "--model-draft": _FILES,
    "--spec-draft-model": _FILES,
    "-mu": "set spec.model.source.http",
    "--model-url": "set spec.model.source.http",
    "-hf": "set spec.model.source.huggingFace",
    "-hfr": "set spec.model.source.huggingFace",
    "--hf-repo": "set spec.model.source.huggingFace",
    "-a": "set spec.model.name",
    "--alias": "set spec.model.name",
    "-c": "set spec.runtime.contextLength",
    "--ctx-size": "set spec.runtime.contextLength",
    "-np": "set spec.runtime.parallel",
    "--parallel": "set spec.runtime.parallel",
    "-t": "set spec.runtime.threads",
    "--threads": "set spec.runtime.threads",
    "-ngl": "set spec.runtime.gpuLayers",
    "--gpu-layers": "set spec.runtime.gpuLayers",
    "--n-gpu-layers": "set spec.runtime.gpuLayers",
    "-fa": "set spec.runtime.flashAttention",
    "--flash-attn": "set spec.runtime.flashAttention",
    "-ctk": "set spec.runtime.kvCache.k",
    "--cache-type-k": "set spec.runtime.kvCache.k",
    "-ctv": "set spec.runtime.kvCache.v",
    "--cache-type-v": "set spec.runtime.kvCache.v",
    "-cram": "set spec.runtime.promptCacheMiB",
    "--cache-ram": "set spec.runtime.promptCacheMiB",
    "-lm": "set spec.runtime.loadMode",
    "--load-mode": "set spec.runtime.loadMode",
    "--embedding": "set spec.runtime.embeddings",
    "--embeddings": "set spec.runtime.embeddings",
    "--api-key": "set LLAMA_API_KEY in spec.runtime.extraEnv from a Secret",
    "--api-key-file": "set LLAMA_API_KEY in spec.runtime.extraEnv from a Secret",
    "--host": _ELSEWHERE,
    "--port": _ELSEWHERE,
    "--api-prefix": _ELSEWHERE,
    "--metrics": _ELSEWHERE,
    "--slots": _ELSEWHERE,
    "--no-slots": _ELSEWHERE,
}
"""Flags that a field stands for, or that must stay as they are, with the cure."""

# A flag with one of these words reads or writes files, downloads, or reaches beyond the server.
# Words rather than flags, so that next month's `--mcp-something-file` is refused as well.
_WORDS = (
    "agent dir docker file fim hf lookup lora mcp models path repo rpc ssl tools url vector vocoder"
)
REACHING: Final = frozenset(_WORDS.split())
REACHING_SHORT: Final = frozenset(
    {"-bf", "-dr", "-f", "-fim", "-jf", "-lcd", "-lcs", "-mmu", "-mv", "-sysf"}
)  # the same by their short names; -hf… goes by its beginning
DOWNLOADS: Final = "-default"  # `--gpt-oss-20b-default` and the like fetch a model of that name
HARMLESS: Final = frozenset({"--spec-default"})

# Variables whose option has another name than theirs.
RENAMED: Final = {
    "N_PARALLEL": "--parallel",
    "ENDPOINT_METRICS": "--metrics",
    "ENDPOINT_SLOTS": "--slots",
}
# They change which code runs: before the server's own, or in place of it.
LOADERS: Final = ("LD_", "DYLD_", "PYTHON", "GGML_BACKEND_PATH")


class RefusedOption(ValueError):
    """An option in `extraArgs` or `extraEnv` that a tier may not have.

    Args:
        field: Where it stands, such as `spec.runtime.extraArgs[2]`.
        value: The flag or the variable's name, without its value, which may be a secret.
        reason: What is wrong with it.
        cure: What to do instead.
    """

    def __init__(self, field: str, value: str, reason: str, cure: str) -> None:
        super().__init__(f"{field}: {value} {reason}; {cure}")
        self.field = field
        self.value = value
        self.cure = cure


def check(runtime: RuntimeSpec) -> None:
    """Pass if every extra option is one that a tier may have.

    Raises:
        RefusedOption: For the first that is not.
    """
    for index, argument in enumerate(runtime.extra_args or ()):
        _check_flag(f"spec.runtime.extraArgs[{index}]", flag_of(argument))
    for index, variable in enumerate(runtime.extra_env or ()):
        _check_variable(f"spec.runtime.extraEnv[{index}].name", variable.name)


def flag_of(argument: str) -> str:
    """Return the flag of an argument as llama-server reads it: `--ctx_size=8` is `--ctx-size`."""
    flag = argument.partition("=")[0]
    return flag.replace("_", "-") if flag.startswith("--") else flag


def split(arguments: Sequence[str]) -> Iterator[str]:
    """Yield arguments with `--flag=value` as two, the only form that llama-server takes."""
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        if equals and flag.startswith("--"):
            yield flag
            yield value
        else:
            yield argument


def has(arguments: Sequence[str], *flags: str) -> bool:
    """Return whether one of the flags, all names of one option, is among the arguments."""
    return any(flag_of(argument) in flags for argument in arguments)


def _check_flag(field: str, flag: str, shown: str = "") -> None:
    if cure := OWNED.get(flag):
        raise RefusedOption(field, shown or flag, "is set by Tiergarten", cure)
    if _reaches(flag):
        reason = "is not allowed: it reaches files, the network or programs"
        cure = "leave it out, or bake it into an image of your own and set spec.runtime.image"
        raise RefusedOption(field, shown or flag, reason, cure)


def _reaches(flag: str) -> bool:
    if flag in REACHING_SHORT or flag.startswith("-hf"):
        return True
    if not flag.startswith("--") or flag in HARMLESS:
        return False
    return flag.endswith(DOWNLOADS) or not REACHING.isdisjoint(flag[2:].split("-"))


def _check_variable(field: str, name: str) -> None:
    if name.startswith(LOADERS):
        reason = "is not allowed: it changes which code runs"
        cure = "bake it into an image of your own and set spec.runtime.image"
        raise RefusedOption(field, name, reason, cure)
    if name.startswith(ENV_PREFIX):
        option = name.removeprefix(ENV_PREFIX)
        flag = RENAMED.get(option, "--" + option.lower().replace("_", "-"))
        _check_flag(field, flag, name)
