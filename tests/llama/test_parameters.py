"""Options become the parameters of llama.cpp that they mean."""

import json
import os
from pathlib import Path

import pytest
import xllamacpp

from tiergarten_llama import parameters
from tiergarten_llama.options import OPTIONS, BadOption, Option, parse

CORES = len(os.sched_getaffinity(0))


def build(*arguments: str) -> parameters.Parameters:
    return parameters.build(parse(["--model", "m.gguf", *arguments], {}))


def test_every_option_is_a_parameter_or_has_a_function() -> None:
    special = {option.dest for option in OPTIONS if not option.target}

    assert special == set(parameters.SPECIAL)


def test_defaults_are_llama_servers() -> None:
    built = build()

    assert built.model.path == "m.gguf"
    assert (built.port, built.hostnames) == (8080, ["127.0.0.1"])
    assert (built.n_parallel, built.kv_unified) == (4, True)
    assert (built.endpoint_metrics, built.endpoint_slots, built.ui) == (False, True, False)
    assert built.cpuparams.n_threads == CORES


@pytest.mark.parametrize(
    ("arguments", "path", "value"),
    [
        ("--ctx-size 4096", "n_ctx", 4096),
        ("--cache-ram 64", "cache_ram_mib", 64),
        ("--no-slots", "endpoint_slots", False),
        ("--alias a,b", "model_alias", {"a", "b"}),
        ("--tags x", "model_tags", {"x"}),
        ("--host 127.0.0.1,::1", "hostnames", ["127.0.0.1", "::1"]),
        ("--parallel 2", "kv_unified", False),
        ("--parallel 2 --kv-unified", "kv_unified", True),
        ("--threads 1", "cpuparams.n_threads", 1),
        ("--threads 100000", "cpuparams.n_threads", CORES),
        ("--threads-batch 1", "cpuparams_batch.n_threads", 1),
        ("--threads-batch -1", "cpuparams_batch.n_threads", -1),
        ("--n-gpu-layers all", "n_gpu_layers", -2),
        ("--n-gpu-layers 12", "n_gpu_layers", 12),
        ("--timeout 5", "timeout_write", 5),
        ("--temp 0.5", "sampling.temp", 0.5),
        ("--mmproj p.gguf", "mmproj.path", "p.gguf"),
        ("--spec-draft-model d.gguf", "speculative.draft.mparams.path", "d.gguf"),
        ("--spec-draft-n-max 7", "speculative.draft.n_max", 7),
        ("--cors-origins localhost", "cors_origins_explicit", True),
        ("--reasoning off", "enable_reasoning", 0),
        ("--api-key a,b", "api_keys", ["a", "b"]),
    ],
)
def test_an_option_sets_its_parameter(arguments: str, path: str, value: object) -> None:
    owner = build(*arguments.split())
    *owners, name = path.split(".")
    for part in owners:
        owner = getattr(owner, part)

    assert getattr(owner, name) == value


@pytest.mark.parametrize(
    ("arguments", "name", "member"),
    [
        ("--flash-attn on", "flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_ENABLED"),
        ("--flash-attn auto", "flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_AUTO"),
        ("--cache-type-k q8_0", "cache_type_k", "GGML_TYPE_Q8_0"),
        ("--cache-type-v iq4_nl", "cache_type_v", "GGML_TYPE_IQ4_NL"),
        ("--pooling mean", "pooling_type", "LLAMA_POOLING_TYPE_MEAN"),
        ("--load-mode none", "load_mode", "LLAMA_LOAD_MODE_NONE"),
        ("--load-mode dio", "load_mode", "LLAMA_LOAD_MODE_DIRECT_IO"),
        ("--load-mode mmap+mlock", "load_mode", "LLAMA_LOAD_MODE_MMAP_MLOCK"),
        (
            "--reasoning-format deepseek-legacy",
            "reasoning_format",
            "COMMON_REASONING_FORMAT_DEEPSEEK_LEGACY",
        ),
    ],
)
def test_a_word_sets_the_member_of_its_enum(arguments: str, name: str, member: str) -> None:
    assert getattr(build(*arguments.split()), name).name == member


@pytest.mark.parametrize(
    "option", [o for o in OPTIONS if "one_of" in getattr(o.kind, "__qualname__", "")]
)
def test_every_word_that_an_option_takes_is_known_to_llama_cpp(
    option: Option,
) -> None:
    with pytest.raises(ValueError, match="is not one of ") as refused:
        option.kind("")

    for word in str(refused.value).partition("is not one of ")[2].split(", "):
        build(option.names[-1], word)


def test_a_speculative_type_is_set_by_its_name() -> None:
    kind = xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE

    assert build("--spec-type", "draft-simple").speculative.types == [kind]


def test_adapters_are_a_list() -> None:
    adapters = build("--lora", "a.gguf,b.gguf").lora_adapters

    assert [adapter.path for adapter in adapters] == ["a.gguf", "b.gguf"]


def test_keys_of_option_and_file_add_up(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# comment\n\n  b\nc\n")

    assert build("--api-key", "a", "--api-key-file", str(file)).api_keys == ["a", "b", "c"]


def test_values_of_a_template_are_json() -> None:
    built = build("--chat-template-kwargs", '{"enable_thinking": false}')

    values = built.default_template_kwargs
    assert {name: json.loads(value) for name, value in values.items()} == {"enable_thinking": False}


def test_a_folder_for_slots_ends_in_a_slash(tmp_path: Path) -> None:
    assert build("--slot-save-path", str(tmp_path)).slot_save_path == f"{tmp_path}/"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--api-key-file", "/no/such/file", "cannot be read"),
        ("--slot-save-path", "/no/such/folder", "is not a folder"),
        ("--chat-template-kwargs", "{", "is no JSON"),
        ("--chat-template-kwargs", "[]", "is no JSON object"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(option: str, value: str, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        build(option, value)
