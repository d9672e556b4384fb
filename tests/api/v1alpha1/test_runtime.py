import pytest

from tiergarten_api.v1alpha1 import OWNED_FLAGS, RuntimeSpec

RUNTIME = "spec/runtime"


def test_the_defaults_are_those_of_the_crd():
    runtime = RuntimeSpec()

    assert (runtime.context_length, runtime.parallel, runtime.prompt_cache_mib) == (8192, 4, 256)
    assert (runtime.kv_cache.k, runtime.flash_attention, runtime.load_mode) == (
        "f16",
        "auto",
        "mmap",
    )
    assert runtime.threads is None
    assert runtime.extra_args is None


@pytest.mark.parametrize(
    ("context", "parallel", "good"),
    [(256, 1, True), (512, 2, True), (511, 2, False), (1024, 4, True), (8192, 33, False)],
)
def test_each_slot_has_at_least_256_tokens(tier, refusals, context, parallel, good):
    refused = refusals(tier({RUNTIME: {"contextLength": context, "parallel": parallel}}))

    assert refused == (
        []
        if good
        else [
            "spec.runtime: contextLength is shared by the slots, and each needs at least 256 tokens"
        ]
    )


@pytest.mark.parametrize(
    ("values", "attention", "good"),
    [("q8_0", "off", False), ("q8_0", "on", True), ("q8_0", "auto", True), ("bf16", "off", True)],
)
def test_a_quantised_v_cache_needs_flash_attention(tier, refusals, values, attention, good):
    runtime = {"kvCache": {"v": values}, "flashAttention": attention}

    refused = refusals(tier({RUNTIME: runtime}))

    assert refused == ([] if good else ["spec.runtime: a quantised V cache needs flash attention"])


@pytest.mark.parametrize("flag", OWNED_FLAGS)
@pytest.mark.parametrize("rest", ["", "=x"])
def test_a_flag_that_the_operator_owns_is_refused(tier, refusals, flag, rest):
    assert refusals(tier({f"{RUNTIME}/extraArgs": ["--no-warmup", flag + rest]})) == [
        "spec.runtime.extraArgs: the operator owns that flag, or it is not allowed"
    ]


def test_other_flags_are_taken_even_twice(tier, refusals):
    flags = ["--no-warmup", "--batch-size=512", "--hostile", "--lora", "--lora"]

    assert refusals(tier({f"{RUNTIME}/extraArgs": flags})) == []


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("threads", [1, 1024], [0, 1025, "1", True]),
        ("gpuLayers", [0, 10_000], [-1, 10_001]),
        ("promptCacheMiB", [0, 1_048_576], [-1, 1_048_577]),
        ("parallel", [1, 32], [0, 257]),
        ("contextLength", [1024, 10_485_760], [255, 10_485_761]),
        ("loadMode", ["mmap", "none", "mlock", "dio"], ["read", None, True]),
        ("flashAttention", ["on", "off", "auto"], [True, False, "On"]),
        ("embeddings", [True, False], ["true", 1]),
        ("image", ["r.io/x:1"], ["", "x" * 513]),
        ("extraArgs", [[], ["-x"] * 64], [["-x"] * 65, [""], ["x" * 513], "-x"]),
    ],
)
def test_a_field_is_bounded(tier, refusals, field, good, bad):
    for value in good:
        assert refusals(tier({f"{RUNTIME}/{field}": value})) == []
    for value in bad:
        expected = 0 if value is None else 1  # a null is nothing, and nothing is the default
        assert len(refusals(tier({f"{RUNTIME}/{field}": value}))) == expected, value


def test_a_snake_case_name_is_refused_as_the_api_server_does(tier, refusals):
    assert refusals(tier({f"{RUNTIME}/context_length": 8192})) == [
        "spec.runtime.context_length: Extra inputs are not permitted"
    ]


def test_environment_variables_come_as_text_or_from_a_secret(tier, refusals):
    good = [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]

    assert refusals(tier({f"{RUNTIME}/extraEnv": good})) == []
    assert len(refusals(tier({f"{RUNTIME}/extraEnv": [*good, {"name": "A"}]}))) == 1
    assert len(refusals(tier({f"{RUNTIME}/extraEnv": [{"name": "1A"}]}))) == 1
