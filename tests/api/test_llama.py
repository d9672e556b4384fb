"""Any tier's command line is one that the server takes, and says what the tier says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_api import llama
from tiergarten_api.extras import RefusedOption
from tiergarten_api.v1alpha1 import ModelTierSpec
from tiergarten_llama import options

CACHE_TYPES = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"]


def spec_of(resources: object = None, **runtime: object) -> ModelTierSpec:
    model = {"name": "qwen3", "source": {"volume": {"claimName": "models"}}}
    fields = {"model": model, "runtime": runtime, "resources": resources}
    return ModelTierSpec.model_validate(fields)


def parsed(spec: ModelTierSpec, **files: Any) -> dict[str, options.Value]:
    return options.parse(llama.argv(spec, "/models/m.gguf", **files), {})


def test_a_tier_that_says_nothing_gets_the_whole_line() -> None:
    assert llama.argv(spec_of(), "/models/m.gguf") == [
        "--host", "0.0.0.0",  # noqa: S104 -- as in a pod
        "--port", "8080", "--model", "/models/m.gguf", "--alias", "qwen3",
        "--ctx-size", "8192", "--parallel", "4", "--metrics", "--slots", "--no-ui",
        "--threads-http", "64", "--cache-ram", "256", "--sse-ping-interval", "5",
        "--cors-origins", "localhost", "--flash-attn", "auto",
    ]  # fmt: skip # as one would type it


@st.composite
def runtimes(draw: st.DrawFn) -> dict[str, object]:
    """Draw what `spec.runtime` may hold; a field is there or is not."""
    slots = draw(st.integers(1, 256))
    cache = draw(st.fixed_dictionaries({n: st.sampled_from(CACHE_TYPES) for n in "kv"}))
    attention = ["auto", "on"] + ["off"] * (cache["v"] in {"f32", "f16", "bf16"})
    optional = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "threads": st.integers(1, 1024),
                "gpuLayers": st.integers(0, 10_000),
                "flashAttention": st.sampled_from(attention),
                "promptCacheMiB": st.integers(0, 1 << 20),
                "loadMode": st.sampled_from(["mmap", "none", "mlock", "dio"]),
                "embeddings": st.booleans(),
                "extraArgs": st.sampled_from(
                    [["--temp", "0.5"], ["--pooling=last"], ["-b", "64", "--ubatch-size=32"]]
                ),
            },
        )
    )
    return {
        "contextLength": draw(st.integers(slots * 256, 1 << 20)),
        "parallel": slots,
        "kvCache": cache,
        **optional,
    }


@given(runtimes(), st.integers(1, 65535))
def test_the_server_understands_every_tier_as_it_was_meant(
    runtime: dict[str, object], port: int
) -> None:
    spec = spec_of(**runtime)
    wanted = spec.runtime

    got = parsed(spec, host="127.0.0.1", port=port)

    assert (got["model"], got["alias"]) == ("/models/m.gguf", "qwen3")
    assert (got["host"], got["port"]) == ("127.0.0.1", port)
    assert (got["ctx_size"], got["parallel"]) == (wanted.context_length, wanted.parallel)
    assert (got["metrics"], got["slots"], got["ui"]) == (True, True, False)
    assert got["threads_http"] == max(64, wanted.parallel + 8)
    assert (got["cache_ram"], got["sse_ping_interval"]) == (wanted.prompt_cache_mib, 5)
    assert got["flash_attn"] == wanted.flash_attention
    assert got.get("cache_type_k", "f16") == wanted.kv_cache.k
    assert got.get("cache_type_v", "f16") == wanted.kv_cache.v
    assert got.get("n_gpu_layers", "None") == str(wanted.gpu_layers)
    assert got.get("threads") == wanted.threads
    assert got.get("load_mode", "mmap") == wanted.load_mode
    assert got.get("embeddings", False) == wanted.embeddings
    if wanted.embeddings and "--pooling=last" not in (wanted.extra_args or ()):
        assert got["pooling"] == "mean"
    if wanted.embeddings or "-b" in (wanted.extra_args or ()):
        assert got["ubatch_size"] == llama.ubatch_tokens(spec)


def test_every_role_of_a_file_has_its_option() -> None:
    got = parsed(spec_of(), projector="p.gguf", draft="d.gguf", adapters=["a.gguf", "b.gguf"])

    assert got["mmproj"] == "p.gguf"
    assert (got["spec_type"], got["spec_draft_model"]) == ("draft-simple", "d.gguf")
    assert got["lora"] == "a.gguf,b.gguf"


@pytest.mark.parametrize(
    ("limit", "threads"), [("2", 2), (3, 3), ("500m", 1), ("1500m", 2), ("0", 1)], ids=str
)
def test_without_threads_the_cpu_limit_says_how_many(limit: str | int, threads: int) -> None:
    assert parsed(spec_of({"limits": {"cpu": limit}}))["threads"] == threads
    assert parsed(spec_of({"limits": {"cpu": limit}}, threads=7))["threads"] == 7


@pytest.mark.parametrize("resources", [{}, {"limits": {}}, {"requests": {"cpu": "4"}}], ids=str)
def test_without_a_cpu_limit_llama_server_counts_the_cores(resources: dict[str, object]) -> None:
    assert "threads" not in parsed(spec_of(resources))


@pytest.mark.parametrize(
    ("runtime", "tokens"),
    [
        pytest.param({}, 512, id="chat"),
        pytest.param({"embeddings": True, "contextLength": 4096, "parallel": 4}, 1024, id="slot"),
        pytest.param({"embeddings": True, "contextLength": 65_536}, 2048, id="long slot"),
        pytest.param({"embeddings": True, "contextLength": 1024}, 512, id="short slot"),
        pytest.param({"extraArgs": ["--ubatch-size=1024", "-ub", "128"]}, 128, id="the last given"),
        pytest.param({"extraArgs": ["-ub", "many"]}, 512, id="not a number"),
    ],
)
def test_a_batch_holds_an_input_for_embeddings(runtime: dict[str, object], tokens: int) -> None:
    assert llama.ubatch_tokens(spec_of(**runtime)) == tokens


def test_what_the_user_says_of_embeddings_is_not_said_twice() -> None:
    given = ["--pooling", "last", "-b", "64", "-ub", "32"]

    line = llama.argv(spec_of(embeddings=True, extraArgs=given), "m.gguf")

    assert line[line.index("--embeddings") + 1 :] == given


def test_origins_may_be_set_by_the_user() -> None:
    spec = spec_of(extraArgs=["--cors-origins=https://chat.example"])

    assert parsed(spec)["cors_origins"] == "https://chat.example"
    assert llama.argv(spec, "m").count("--cors-origins") == 1


def test_an_option_that_is_not_allowed_stops_the_building() -> None:
    with pytest.raises(RefusedOption, match=r"spec\.runtime\.extraArgs\[0\]: --models-dir"):
        llama.argv(spec_of(extraArgs=["--models-dir", "/"]), "m.gguf")
    with pytest.raises(RefusedOption, match=r"spec\.runtime\.extraEnv\[0\]\.name: LD_PRELOAD"):
        llama.argv(spec_of(extraEnv=[{"name": "LD_PRELOAD", "value": "x"}]), "m.gguf")
