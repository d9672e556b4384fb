"""Extra options that a tier may not have are refused, with field, flag and cure."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_api import extras
from tiergarten_api.extras import RefusedOption
from tiergarten_api.v1alpha1 import OWNED_FLAGS, RuntimeSpec


def check(*arguments: str) -> None:
    extras.check(RuntimeSpec.model_construct(extra_args=arguments, extra_env=None))


def check_variable(name: str, value: str = "x") -> None:
    extras.check(RuntimeSpec.model_validate({"extraEnv": [{"name": name, "value": value}]}))


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="none"),
        pytest.param(["--no-warmup", "--batch-size=512"], id="flags"),
        pytest.param(["--temp", "0.7", "--top-k", "-1"], id="values"),
        pytest.param(["--threads-http", "128", "--threads-batch", "2"], id="tuning"),
        pytest.param(["--reasoning-budget", "0", "--spec-default"], id="reasoning"),
        pytest.param(["--pooling", "last", "--chat-template", "chatml"], id="words"),
        pytest.param(["--override-kv", "llama.expert_used_count=int:4"], id="with an equals sign"),
        pytest.param(["--no-mmap", "--mlock"], id="flags of builds before --load-mode"),
    ],
)
def test_ordinary_options_pass(arguments: list[str]) -> None:
    check(*arguments)


@pytest.mark.parametrize("flag", OWNED_FLAGS)
def test_what_the_crd_refuses_is_refused_here_too(flag: str) -> None:
    with pytest.raises(RefusedOption):
        check(flag)


@pytest.mark.parametrize(
    "flag",
    [
        "--models-dir", "--models-preset", "--lora", "--lora-scaled", "--control-vector", "-hff",
        "--hf-file", "-hfd", "--spec-draft-hf", "--hf-token", "-dr", "--docker-repo",
        "--mmproj-url", "--ssl-key-file", "--ssl-cert-file", "--slot-save-path", "--log-file",
        "--path", "--media-path", "--chat-template-file", "--grammar-file", "-jf", "--file", "-f",
        "--tools", "--agent", "--mcp-servers-config", "--ui-mcp-proxy", "--rpc", "-lcd",
        "--lookup-cache-static", "--gpt-oss-20b-default", "--fim-qwen-7b-spec", "--models_dir",
        "--lora=/etc/passwd",
    ],
)  # fmt: skip # one flag a line would fill the screen
def test_a_flag_that_reaches_beyond_the_server_is_refused(flag: str) -> None:
    with pytest.raises(RefusedOption, match="reaches files, the network or programs") as caught:
        check("--no-warmup", flag)

    assert caught.value.field == "spec.runtime.extraArgs[1]"
    assert caught.value.value == flag.partition("=")[0].replace("_", "-")
    assert "spec.runtime.image" in caught.value.cure


@pytest.mark.parametrize(
    ("flag", "cure"),
    [
        ("-m", "spec.model.files"),
        ("--mmproj", "spec.model.files"),
        ("--hf-repo", "spec.model.source.huggingFace"),
        ("--ctx-size=4096", "spec.runtime.contextLength"),
        ("--ctx_size", "spec.runtime.contextLength"),
        ("-t", "spec.runtime.threads"),
        ("-ngl", "spec.runtime.gpuLayers"),
        ("-fa", "spec.runtime.flashAttention"),
        ("-ctv", "spec.runtime.kvCache.v"),
        ("--cache-ram", "spec.runtime.promptCacheMiB"),
        ("--load-mode", "spec.runtime.loadMode"),
        ("--embeddings", "spec.runtime.embeddings"),
        ("--api-key", "spec.runtime.extraEnv"),
        ("--api-prefix", "leave it out"),
    ],
)
def test_a_flag_with_a_field_of_its_own_is_refused_with_the_fields_name(
    flag: str, cure: str
) -> None:
    with pytest.raises(RefusedOption, match="is set by Tiergarten") as caught:
        check(flag)

    assert cure in caught.value.cure


@pytest.mark.parametrize(
    "name",
    [
        "LLAMA_ARG_MODELS_DIR", "LLAMA_ARG_HF_FILE", "LLAMA_ARG_SSL_KEY_FILE", "LLAMA_ARG_TOOLS",
        "LLAMA_ARG_MODEL", "LLAMA_ARG_CTX_SIZE", "LLAMA_ARG_N_PARALLEL", "GGML_BACKEND_PATH",
        "LLAMA_ARG_ENDPOINT_METRICS", "LLAMA_ARG_ENDPOINT_SLOTS", "LLAMA_ARG_API_KEY_FILE",
        "LLAMA_ARG_CACHE_TYPE_V", "LD_PRELOAD", "PYTHONPATH",
    ],
)  # fmt: skip # one name a line would fill the screen
def test_a_variable_that_does_the_same_is_refused_without_its_value(name: str) -> None:
    with pytest.raises(RefusedOption) as caught:
        check_variable(name, "a-secret")

    assert caught.value.field == "spec.runtime.extraEnv[0].name"
    assert caught.value.value == name
    assert "a-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["LLAMA_API_KEY", "LLAMA_ARG_BATCH", "LLAMA_ARG_NO_MMAP", "OMP_NUM_THREADS", "TZ"]
)
def test_ordinary_variables_pass(name: str) -> None:
    check_variable(name)


@given(st.lists(st.text(min_size=1)))
def test_any_arguments_pass_or_are_refused(arguments: list[str]) -> None:
    with contextlib.suppress(RefusedOption):
        check(*arguments)


def test_a_flag_and_its_value_become_two_arguments() -> None:
    arguments = ["--batch-size=512", "--override-kv", "a=int:4", "-b=1", "--x=a=b"]

    assert list(extras.split(arguments)) == [
        "--batch-size", "512", "--override-kv", "a=int:4", "-b=1", "--x", "a=b",
    ]  # fmt: skip # read it as a line
