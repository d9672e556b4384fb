from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from tiergarten_api import structural
from tiergarten_api.v1alpha1 import ListOf, Rule, Schema


class Leaf(Schema):
    """Described by its class."""

    rules = (Rule("self.size > 0", "too small"),)

    size: int = 1


class Tree(Schema):
    """A tree."""

    leaf: Leaf = Field(Leaf(), json_schema_extra={"default": {}}, description="The one leaf.")
    fixed: Literal["a"] = "a"
    name: str | None = Field(None, max_length=3, description="Its name.")
    leaves: Annotated[tuple[Leaf, ...], Field(max_length=2), ListOf("atomic")]
    by_name: dict[str, Annotated[str, Field(max_length=4)]] | None = None
    anything: dict[str, Any] | None = None


def test_a_model_becomes_a_structural_schema():
    leaf = {
        "description": "Described by its class.",
        "type": "object",
        "x-kubernetes-validations": [{"rule": "self.size > 0", "message": "too small"}],
        "properties": {"size": {"type": "integer", "default": 1}},
    }

    assert structural.of(Tree) == {
        "description": "A tree.",
        "type": "object",
        "required": ["leaves"],
        "properties": {
            "leaf": leaf | {"description": "The one leaf.", "default": {}},
            "fixed": {"type": "string", "enum": ["a"], "default": "a"},
            "name": {"description": "Its name.", "type": "string", "maxLength": 3},
            "leaves": {
                "type": "array",
                "maxItems": 2,
                "x-kubernetes-list-type": "atomic",
                "items": leaf,
            },
            "byName": {
                "type": "object",
                "additionalProperties": {"type": "string", "maxLength": 4},
            },
            "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }


def test_keywords_are_written_in_the_order_in_which_one_reads_them():
    name = structural.of(Tree)["properties"]["name"]

    assert list(name) == ["description", "type", "maxLength"]


class Above(Schema):
    number: int = Field(gt=1)


class Union(Schema):
    either: int | str


class Loose(Schema):
    names: Annotated[tuple[str, ...], ListOf("atomic")] | None = Field(None, max_length=3)


class Endless(Schema):
    inner: "Endless | None" = None


class Pair(Schema):
    pair: tuple[int, str]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Above, r"\.number: Kubernetes does not know exclusiveMinimum; use ge and le"),
        (Union, r"\.either: a union of types; only `T \| None` can be said"),
        (Loose, r"\.names: maxLength says nothing about type array"),
        (Endless, "Endless holds itself, which a CRD cannot say"),
        (Pair, r"\.pair: Kubernetes does not know prefixItems"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_what_kubernetes_cannot_say_is_an_error_and_never_lost(model: type[Schema], message: str):
    with pytest.raises(structural.NotStructural, match=message):
        structural.of(model)
