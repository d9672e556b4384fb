"""Every mistake that pydantic may find has words, and those that people make have good ones."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tiergarten_api import manifests, mistakes, structural
from tiergarten_api.problems import Problem
from tiergarten_api.v1alpha1 import ModelTier, TierRoute

HEAD = "apiVersion: tiergarten.dev/v1alpha1\nkind: ModelTier\nmetadata: {name: q2}\nspec:\n"
MODEL = "  model: {name: m, source: {volume: {claimName: c}}, files: [{name: a.gguf}]}\n"
FETCHED = "  model: {name: m, source: {huggingFace: {repo: a/b}}, files: [{name: a.gguf}]}\n"


def only(text: str) -> Problem:
    (problem,) = manifests.parse(text, "t.yaml").problems
    return problem


@pytest.mark.parametrize(
    ("field", "message", "value", "cure"),
    [
        (
            "runtime: {parallel: '4'}",
            "must be a whole number",
            '"4"',
            "write it without quotes",
        ),
        (
            "runtime: {parallel: many}",
            "must be a whole number",
            '"many"',
            "write a number from 1 to 256",
        ),
        ("runtime: {threads: 0}", "must be at least 1", "0", "write a number from 1 to 1024"),
        ("replicas: 5000", "must be at most 1000", "5000", "write a number from 0 to 1000"),
        ("replicas: 1.5", "must be a whole number", "1.5", "write a number from 0 to 1000"),
        (
            "runtime: {flashAttention: on}",
            "is none of the values that it may have, and a bare word such as this is a boolean "
            "in YAML",
            "true",
            'quote it: flashAttention: "on"',
        ),
        (
            "runtime: {flashAttention: enabled}",
            "is none of the values that it may have",
            '"enabled"',
            'write one of "on", "off", auto',
        ),
        (
            "runtime: {loadMode: mmapp}",
            "is none of the values that it may have",
            '"mmapp"',
            "write mmap",
        ),
        ("runtime: {contextLenght: 1}", "is not a field", "", "write contextLength"),
        (
            "rollout: {zzz: 1}",
            "is not a field",
            "",
            "take it out; there are strategy, startupTimeoutSeconds, drainTimeoutSeconds",
        ),
        ("runtime: {context_length: 512}", "is not a field", "", "write contextLength"),
        ("runtime: {embeddings: 1}", "must be true or false", "1", "write true or false"),
        ("runtime: {image: 1}", "must be a text", "1", "put it in quotes"),
        ("runtime: {image: [a]}", "must be a text", "a list", "write one value"),
        ("runtime: {image: off}", "must be a text, and a bare word", "false", 'image: "off"'),
        ("runtime: {extraArgs: -x}", "must be a list", '"-x"', "begin each item with '- '"),
        ("runtime: fast", "must be a mapping", '"fast"', "write its fields on lines below it"),
        ("resources: {requests: 4}", "must be a mapping", "4", "write its fields"),
        (
            "runtime: {extraArgs: ['']}",
            "has 0 characters and must have at least 1",
            '""',
            "fill it, or leave it out",
        ),
        (
            f"runtime: {{image: {'x' * 513}}}",
            "has 513 characters and may have at most 512",
            '"' + "x" * 40 + '…"',
            "shorten it",
        ),
        (
            f"runtime: {{extraArgs: [{', '.join(['-x'] * 65)}]}}",
            "has 65 entries and may have at most 64",
            "a list",
            "shorten it",
        ),
        (
            "runtime: {extraArgs: [--host=1, --api-key=hunter2]}",
            "the operator owns that flag, or it is not allowed",
            "--host --api-key",
            "take it out; fields of spec.model and spec.runtime set these flags",
        ),
        (
            "routing: {costPerMillionTokens: 0.15}",
            "must be exact, so a fraction is written as text",
            "0.15",
            'quote it: "0.15"',
        ),
        ("cache: {size: 12Gx}", "must be a quantity", '"12Gx"', "write for example 12Gi"),
        (
            "cache: {mode: Shared}",
            "mode Shared needs claimName, and no other mode takes it",
            "",
            "set both mode: Shared and claimName, or neither",
        ),
        (
            "cache: {mode: Image}",
            "cache mode Image needs an image source",
            '"Image"',
            "set spec.model.source.image, or another mode",
        ),
        (
            "routing: {capabilities: [vision, vision]}",
            "is there twice",
            "vision",
            "keep one of the two",
        ),
        (
            "routing: {capabilities: [Vision]}",
            "is not written as it must be",
            '"Vision"',
            "use lower-case letters and digits, and - inside",
        ),
        ("autoscaling: {}", "is missing", "", "add spec.autoscaling.maxReplicas"),
    ],
)
def test_a_mistake_has_message_value_and_cure(field: str, message: str, value: str, cure: str):
    problem = only(f"{HEAD}{MODEL}  {field}\n")

    assert message in problem.message
    assert problem.value == value
    assert cure in problem.cure
    assert problem.line == 6


def test_a_repository_in_other_letters_has_words_too():
    problem = only(HEAD + FETCHED.replace("a/b", "ä/b"))

    assert problem.field == "spec.model.source.huggingFace.repo"
    assert "may hold ASCII letters" in problem.message
    assert "such as org/model-GGUF" in problem.cure


def test_a_list_is_not_called_too_short_for_its_bad_items():
    problem = only(HEAD + MODEL.replace("a.gguf", "a.bin"))

    assert problem.field == "spec.model.files[0].name"
    assert problem.message == "must be a relative path ending in .gguf"


def test_an_empty_list_of_files_is_too_short():
    problem = only(HEAD + MODEL.replace("[{name: a.gguf}]", "[]"))

    assert problem.message == "has 0 entries and must have at least 1"


def test_a_bare_on_as_a_name_is_quoted():
    text = (
        "apiVersion: tiergarten.dev/v1alpha1\nkind: TierRoute\nmetadata: {name: auto}\n"
        "spec:\n  model: auto\n  tiers: [{name: q2}]\n  fallback:\n    on: [Timeout]\n"
    )

    problem = manifests.parse(text, "t.yaml").errors[0]

    assert (problem.field, problem.line) == ("spec.fallback.true", 8)
    assert problem.cure == 'quote the name: "on":'


def test_what_is_missing_is_named_with_what_it_needs():
    assert only(HEAD + "  replicas: 1\n").cure == "add spec.model with name and source"
    assert only(HEAD.replace("{name: q2}", "{}") + MODEL).cure == "add metadata.name"


def test_several_mistakes_are_told_in_the_order_of_the_file():
    text = HEAD + MODEL + "  replicas: -1\n  runtime:\n    threads: 0\n    parallel: 0\n"

    lines = [problem.line for problem in manifests.parse(text, "t.yaml").problems]

    assert lines == [6, 8, 9]


def test_no_secret_is_told():
    text = (
        HEAD
        + FETCHED.replace("repo: a/b", "repo: a/b, token: hunter2")
        + (
            "  runtime:\n    extraEnv: [{name: A, value: [hunter2]}, {name: 1A, value: hunter2}]\n"
            "    extraArgs: [--api-key=hunter2]\n"
            "  resources: {requests: {hunter2: x}}\n"
        )
    )

    problems = manifests.parse(text, "t.yaml").problems

    assert len(problems) == 5
    assert all(
        "hunter2" not in str(problem).replace("requests.hunter2", "") for problem in problems
    )


def patterns(schema: dict[str, Any]) -> Iterator[str]:
    if "pattern" in schema and "x-kubernetes-int-or-string" not in schema:
        yield schema["pattern"]
    for field in schema.get("properties", {}).values():
        yield from patterns(field)
    if "items" in schema:
        yield from patterns(schema["items"])


@pytest.mark.parametrize("model", [ModelTier, TierRoute])
def test_every_pattern_that_a_user_may_break_has_words(model: type[ModelTier | TierRoute]):
    properties = structural.of(model)["properties"]

    found = {*patterns(properties["spec"]), *patterns(properties["metadata"])}

    assert found <= mistakes.ALLOWED.keys()


def test_a_status_is_read_too_and_its_mistakes_have_words():
    status = {"conditions": [{"type": "Ready", "status": "True", "reason": "A", "message": ""}]}
    status["conditions"][0]["lastTransitionTime"] = "now"
    text = HEAD + MODEL + yaml.safe_dump({"status": status})

    problem = only(text)

    assert problem.field == "status.conditions[0].lastTransitionTime"
    assert problem.message == "must be a time such as 2026-01-31T12:00:00Z"
