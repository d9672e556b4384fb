from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from tiergarten_api.v1alpha1 import ListOf, Rule, Schema
from tiergarten_api.v1alpha1.base import RULES, without_nulls

EVEN = Rule("self % 2 == 0", "must be even", check=lambda number: number % 2 == 0, cure="add 1")
FIXED = Rule("self == oldSelf", "is immutable")


class Item(Schema):
    name: str
    size: int = 1


class Box(Schema):
    rules = (
        Rule(
            "self.low <= self.high",
            "low must not exceed high",
            check=lambda box: box.low <= box.high,
            field_path=".low",
            reason="FieldValueForbidden",
        ),
        Rule("self.low == oldSelf.low", "low is immutable"),
    )

    low: int = 0
    high: int = 9
    even_number: Annotated[int, EVEN, FIXED] | None = None
    items: Annotated[tuple[Item, ...], Field(max_length=2), ListOf("map", "name")] | None = None
    words: Annotated[tuple[str, ...], ListOf("set")] = ()
    lines: Annotated[tuple[str, ...], ListOf("atomic")] = ()


def errors_of(**fields: object) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        Box.model_validate(fields)
    return [(error["type"], error["msg"]) for error in caught.value.errors()]


def test_a_null_is_the_same_as_nothing_for_a_known_field_only():
    assert Box.model_validate({"low": None, "evenNumber": None}) == Box()
    assert errors_of(unheard=None) == [("extra_forbidden", "Extra inputs are not permitted")]


def test_both_spellings_of_a_name_are_read_and_camel_case_is_written():
    box = Box.model_validate({"evenNumber": 4})

    assert box == Box(even_number=4)
    assert box.model_dump(exclude_none=True)["evenNumber"] == 4


def test_types_are_not_guessed():
    assert [kind for kind, _ in errors_of(low="1", words="a")] == ["int_type", "tuple_type"]
    assert [kind for kind, _ in errors_of(low=True)] == ["int_type"]


def test_what_is_no_object_is_refused():
    with pytest.raises(ValidationError, match="valid dictionary"):
        Box.model_validate([])


def test_a_rule_of_a_value_names_its_message():
    assert Box(even_number=2).even_number == 2
    assert errors_of(evenNumber=3) == [("rule", "must be even")]


def test_a_rule_of_an_object_carries_path_and_cure():
    with pytest.raises(ValidationError) as caught:
        Box(low=5, high=4)

    (error,) = caught.value.errors()
    assert error["ctx"] == {"message": "low must not exceed high", "cure": "", "path": ".low"}


def test_a_rule_may_say_which_part_of_a_value_is_to_blame():
    rule = Rule("", "too loud", check=str.islower, blame=lambda text: text[:1])

    with pytest.raises(ValueError, match="too loud") as caught:
        rule.verify("AB")

    assert caught.value.context["blamed"] == "A"  # type: ignore[attr-defined]  # it is pydantic's


def test_rules_are_written_into_the_json_schema_in_order():
    schema = Box.model_json_schema()

    assert schema[RULES] == [
        {
            "rule": "self.low <= self.high",
            "fieldPath": ".low",
            "message": "low must not exceed high",
            "reason": "FieldValueForbidden",
        },
        {"rule": "self.low == oldSelf.low", "message": "low is immutable"},
    ]
    number = schema["properties"]["evenNumber"]["anyOf"][0]
    assert [rule["rule"] for rule in number[RULES]] == ["self % 2 == 0", "self == oldSelf"]


def test_an_item_of_a_map_may_not_be_there_twice():
    twice = [{"name": "a"}, {"name": "a", "size": 2}]

    assert Box.model_validate({"items": twice[:1]}).items == (Item(name="a"),)
    assert errors_of(items=twice) == [("duplicate", "Duplicate value: a")]


def test_a_value_of_a_set_may_not_be_there_twice_but_a_line_may():
    assert errors_of(words=["a", "b", "a"]) == [("duplicate", "Duplicate value: a")]
    assert Box(lines=("a", "a")).lines == ("a", "a")


def test_the_kind_of_a_list_and_its_bounds_are_written_into_the_json_schema():
    properties = Box.model_json_schema()["properties"]

    items = properties["items"]["anyOf"][0]
    assert items["maxItems"] == 2
    assert items["x-kubernetes-list-type"] == "map"
    assert items["x-kubernetes-list-map-keys"] == ["name"]
    assert properties["words"]["x-kubernetes-list-type"] == "set"
    assert "x-kubernetes-list-map-keys" not in properties["words"]


def test_an_older_program_may_ignore_what_a_newer_crd_has():
    newer = {"low": 1, "items": [{"name": "a", "colour": "red"}], "shape": "round"}

    box = Box.model_validate(newer, extra="ignore")

    assert box == Box(low=1, items=(Item(name="a"),))


def test_nulls_are_taken_out_of_a_mapping_and_nothing_else_is_touched():
    assert without_nulls({"a": None, "b": 1}) == {"b": 1}
    assert without_nulls("text") == "text"
