"""Turns options into llama.cpp's parameters, with llama-server's defaults.

The only module that names llama.cpp's enums. Called by `server`; `options` says what there is.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import xllamacpp

from tiergarten_llama.options import OPTIONS, BadOption, Value

Parameters = Any  # xllamacpp publishes no types
Apply = Callable[[Parameters, Any], None]

AUTO_SLOTS: Final = 4  # with one cache for all, as llama-server has it when no number is given


def build(options: Mapping[str, Value]) -> Parameters:
    """Return the parameters that the options ask for.

    Args:
        options: What `options.parse` returned.

    Raises:
        BadOption: A value is not what it must be, or a file that it names cannot be read.
    """
    parameters = xllamacpp.CommonParams()
    parameters.port = 8080
    parameters.ui = False  # no pages are in the wheel
    _slots(parameters, -1)
    _threads(parameters, -1)
    for option in OPTIONS:
        value = options.get(option.dest)
        if value is None:
            continue
        if option.target:
            _set(parameters, option.target, value)
        else:
            SPECIAL[option.dest](parameters, value)
    return parameters


def _set(parameters: Parameters, path: str, value: object) -> None:
    *owners, name = path.split(".")
    owner = parameters
    for part in owners:
        owner = getattr(owner, part)
    setattr(owner, name, value)


def _names(text: str) -> list[str]:
    """Return the items of a list with commas."""
    return [item.strip() for item in text.split(",") if item.strip()]


def _slots(parameters: Parameters, slots: int) -> None:
    parameters.n_parallel = slots if slots > 0 else AUTO_SLOTS
    parameters.kv_unified = slots <= 0


def _unified(parameters: Parameters, unified: bool) -> None:  # noqa: FBT001 -- an option's value
    parameters.kv_unified = unified


def _cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _threads(parameters: Parameters, threads: int) -> None:
    # More threads than cores wait for each other by spinning: many times slower, not faster.
    parameters.cpuparams.n_threads = min(threads, _cores()) if threads > 0 else _cores()


def _batch_threads(parameters: Parameters, threads: int) -> None:
    parameters.cpuparams_batch.n_threads = min(threads, _cores()) if threads > 0 else -1


def _alias(parameters: Parameters, text: str) -> None:
    parameters.model_alias = set(_names(text))


def _tags(parameters: Parameters, text: str) -> None:
    parameters.model_tags = set(_names(text))


def _lora(parameters: Parameters, text: str) -> None:
    parameters.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 1.0) for path in _names(text)]


def _draft(parameters: Parameters, path: str) -> None:
    parameters.speculative.draft.mparams.path = path


def _gpu_layers(parameters: Parameters, layers: str) -> None:
    special = {"auto": -1, "all": -2}
    parameters.n_gpu_layers = special[layers] if layers in special else int(layers)


def _save_path(parameters: Parameters, folder: str) -> None:
    if not Path(folder).is_dir():
        raise BadOption(f"--slot-save-path: {folder} is not a folder")
    parameters.slot_save_path = os.path.join(folder, "")  # noqa: PTH118 -- it must end in a slash


def _hosts(parameters: Parameters, text: str) -> None:
    parameters.hostnames = _names(text)


def _api_keys(parameters: Parameters, text: str) -> None:
    parameters.api_keys = [*parameters.api_keys, *_names(text)]


def _api_key_file(parameters: Parameters, file: str) -> None:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadOption(f"--api-key-file: {file} cannot be read: {error}") from error
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    parameters.api_keys = [*parameters.api_keys, *keys]


def _timeout(parameters: Parameters, seconds: int) -> None:
    parameters.timeout_read = parameters.timeout_write = seconds


def _origins(parameters: Parameters, origins: str) -> None:
    parameters.cors_origins = origins
    parameters.cors_origins_explicit = True


def _template_values(parameters: Parameters, text: str) -> None:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadOption(f"--chat-template-kwargs: {text!r} is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise BadOption(f"--chat-template-kwargs: {text!r} is no JSON object")
    parameters.default_template_kwargs = {name: json.dumps(value) for name, value in values.items()}


def _enum(target: str, enum: str, prefix: str, **names: str) -> Apply:
    """Return a function that sets a parameter to a member of one of llama.cpp's enums."""

    def apply(parameters: Parameters, value: str) -> None:
        member = prefix + names.get(value, value.upper().replace("-", "_"))
        setattr(parameters, target, getattr(getattr(xllamacpp, enum), member))

    return apply


def _spec_type(parameters: Parameters, value: str) -> None:
    member = "COMMON_SPECULATIVE_TYPE_" + value.upper().replace("-", "_")
    parameters.speculative.types = [getattr(xllamacpp.common_speculative_type, member)]


def _load_mode(parameters: Parameters, value: str) -> None:
    member = {"mmap+mlock": "MMAP_MLOCK", "dio": "DIRECT_IO"}.get(value, value.upper())
    parameters.load_mode = getattr(xllamacpp.llama_load_mode, "LLAMA_LOAD_MODE_" + member)


def _reasoning(parameters: Parameters, value: str) -> None:
    parameters.enable_reasoning = {"on": 1, "off": 0, "auto": -1}[value]


def _nothing(_parameters: Parameters, _value: object) -> None:
    """Take an option that has no effect here: there are no pages to show."""


SPECIAL: Final[dict[str, Apply]] = {
    "alias": _alias,
    "tags": _tags,
    "lora": _lora,
    "spec_draft_model": _draft,
    "spec_type": _spec_type,
    "load_mode": _load_mode,
    "parallel": _slots,
    "kv_unified": _unified,
    "threads": _threads,
    "threads_batch": _batch_threads,
    "n_gpu_layers": _gpu_layers,
    "flash_attn": _enum(
        "flash_attn_type",
        "llama_flash_attn_type",
        "LLAMA_FLASH_ATTN_TYPE_",
        on="ENABLED",
        off="DISABLED",
    ),
    "cache_type_k": _enum("cache_type_k", "ggml_type", "GGML_TYPE_"),
    "cache_type_v": _enum("cache_type_v", "ggml_type", "GGML_TYPE_"),
    "slot_save_path": _save_path,
    "pooling": _enum("pooling_type", "llama_pooling_type", "LLAMA_POOLING_TYPE_"),
    "chat_template_kwargs": _template_values,
    "reasoning_format": _enum(
        "reasoning_format", "common_reasoning_format", "COMMON_REASONING_FORMAT_"
    ),
    "reasoning": _reasoning,
    "host": _hosts,
    "api_key": _api_keys,
    "api_key_file": _api_key_file,
    "timeout": _timeout,
    "cors_origins": _origins,
    "ui": _nothing,
}
"""Options whose value is not a parameter as it is."""
