"""Model and CRD schema accept and refuse the same, for documents drawn from the schema itself.

Rules in CEL are left out here, as nothing but an API server evaluates them; tables of the other
tests hold their Python twins to them.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tiergarten_api import crd
from tiergarten_api.v1alpha1 import ModelTier, TierRoute

Schema = dict[str, Any]

KINDS: dict[str, tuple[type[BaseModel], Schema]] = {
    "ModelTier": (ModelTier, crd.model_tiers()),
    "TierRoute": (TierRoute, crd.tier_routes()),
}
GOOD: dict[str, Schema] = {
    "ModelTier": {"model": {"name": "a", "source": {"volume": {"claimName": "a"}}}},
    "TierRoute": {"model": "a", "tiers": [{"name": "a"}]},
}
TYPES = {
    "string": str,
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
}
WORDS = st.sampled_from(
    ["", "a", "A", "a-b", "q2\n", "org/repo", "örg/repo", "a.gguf", "0.15", "12Gi", "5m", "-1"]
) | st.sampled_from(
    ["a" * 52, "a" * 64, "a" * 65, "f" * 64, "x" * 254, "NAME", "1NAME", "2026-01-01T00:00:00Z"]
)
NUMBERS = st.sampled_from([-(2**31) - 1, -1, 0, 1, 100, 256, 1001, 2**31, 2**40])
ODD = st.one_of(WORDS, NUMBERS, st.booleans(), st.none(), st.just([]), st.just({}), st.just(["a"]))


def mistakes(value: object, schema: Schema, path: str = "") -> Iterator[str]:
    """Yield where a value breaks a structural schema, as the API server checks it."""
    if schema.get("x-kubernetes-int-or-string"):
        is_fine = isinstance(value, int | str) and not isinstance(value, bool)
    else:
        wanted = TYPES[schema["type"]]
        is_fine = isinstance(value, wanted) and isinstance(value, bool) == (wanted is bool)
    if not is_fine:
        yield f"{path}: type"
    elif isinstance(value, dict):
        yield from mistakes_of_object(value, schema, path)
    elif isinstance(value, list):
        yield from mistakes_of_list(value, schema, path)
    elif isinstance(value, str):
        yield from mistakes_of_text(value, schema, path)
    elif isinstance(value, int) and not isinstance(value, bool):
        bits = 31 if schema.get("format") == "int32" else 63
        least = max(schema.get("minimum", -(2**bits)), -(2**bits))
        if not least <= value <= min(schema.get("maximum", 2**bits), 2**bits - 1):
            yield f"{path}: bound"


def mistakes_of_object(value: dict[str, Any], schema: Schema, path: str) -> Iterator[str]:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    known = {
        name: it
        for name, it in value.items()
        if it is not None or not (name in properties or others)
    }
    if set(schema.get("required", ())) - known.keys():
        yield f"{path}: required"
    if len(known) > schema.get("maxProperties", len(known)):
        yield f"{path}: bound"
    for name, it in known.items():
        if field := properties.get(name, others):
            yield from mistakes(it, field, f"{path}.{name}")
        else:
            yield f"{path}.{name}: unknown"


def mistakes_of_list(value: list[Any], schema: Schema, path: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{path}: bound"
    found = [mistake for it in value for mistake in mistakes(it, schema["items"], f"{path}[]")]
    yield from found
    if not found and (kind := schema["x-kubernetes-list-type"]) != "atomic":
        key = schema.get("x-kubernetes-list-map-keys", [""])[0]
        names = [it[key] if kind == "map" else it for it in value]
        if len(set(names)) != len(names):
            yield f"{path}: duplicate"


def mistakes_of_text(value: str, schema: Schema, path: str) -> Iterator[str]:
    if value not in schema.get("enum", [value]):
        yield f"{path}: enum"
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        yield f"{path}: bound"
    # Go's \w is ASCII and its $ is the very end; Python's takes a line end after it.
    pattern = schema.get("pattern", "").replace("$", r"\Z")
    if not re.search(pattern, value, re.ASCII):
        yield f"{path}: pattern"
    if schema.get("format") == "date-time" and not is_moment(value):
        yield f"{path}: format"


def is_moment(text: str) -> bool:
    try:
        return "T" in text and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def values(schema: Schema) -> SearchStrategy[Any]:
    """Draw values that are nearly right: about one in twenty is of a wild kind."""
    return st.integers(0, 19).flatmap(lambda number: ODD if number == 0 else fitting(schema))


def fitting(schema: Schema) -> SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type", "int-or-string")
    if kind == "object":
        return objects(schema)
    if kind == "array":
        return st.lists(values(schema["items"]), min_size=schema.get("minItems", 0), max_size=3)
    if kind == "integer":
        least, most = schema.get("minimum", 0), schema.get("maximum", 2**31)
        return st.sampled_from([least, most, least - 1, most + 1]) | st.integers(least, most)
    return {
        "boolean": st.booleans(),
        "int-or-string": WORDS | NUMBERS,
        "string": WORDS | st.from_regex(schema.get("pattern", r"\A[a-z/.]{0,9}\Z")),
    }[kind]


def objects(schema: Schema) -> SearchStrategy[dict[str, Any]]:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return st.dictionaries(WORDS, ODD, max_size=2)
    if others := schema.get("additionalProperties"):
        return st.dictionaries(WORDS, values(others), max_size=17)
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: values(field) for name, field in properties.items() if name in required},
        optional={name: values(field) for name, field in properties.items() if name not in required}
        | {"surprise": st.just(1)},
    )


def errors(model: type[BaseModel], value: object) -> list[ErrorDetails]:
    try:
        model.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        return error.errors()
    return []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["spec", "status"])
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_model_and_schema_accept_and_refuse_the_same(kind: str, part: str, data: st.DataObject):
    model, definition = KINDS[kind]
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    drawn = data.draw(values(schema["properties"][part]))
    document = {"metadata": {}, "spec": GOOD[kind], part: drawn}
    by_schema = set(mistakes(document, schema))

    by_model = errors(model, document | {"metadata": {"name": "a"}})

    # A rule that fails first may hide a broken bound, and a broken bound hides rules.
    assert bool(by_model) >= bool(by_schema), by_schema
    assert bool(by_schema) >= bool([found for found in by_model if found["type"] != "rule"])
