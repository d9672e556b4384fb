from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tiergarten_api.v1alpha1 import quantity
from tiergarten_api.v1alpha1.quantity import Amount, Price, StorageSize


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (0, Decimal(0)),
        (3, Decimal(3)),
        ("500m", Decimal("0.5")),
        ("1.5Gi", Decimal(3 * 2**29)),
        ("2k", Decimal(2000)),
        ("1Ti", Decimal(2**40)),
        ("1T", Decimal(10**12)),
    ],
)
def test_a_quantity_is_so_much(text: int | str, wanted: Decimal):
    assert quantity.amount(text) == wanted


@pytest.mark.parametrize("text", ["", "Gi", "-1", "1 Gi", "1e3", "1Gi\n", ".5", "1Pi"])
def test_what_is_no_quantity_is_named_with_an_example(text: str):
    with pytest.raises(ValueError, match="write for example 4Gi"):
        quantity.amount(text)


def test_a_part_of_a_byte_is_rounded_up():
    assert quantity.whole("0.1k") == 100
    assert quantity.whole("100m") == 1


@given(st.integers(0, 10**15), st.sampled_from(sorted(quantity.UNITS)))
def test_a_quantity_is_its_number_times_its_unit(number: int, unit: str):
    assert quantity.amount(f"{number}{unit}") == number * quantity.UNITS[unit]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Amount, [0, 4, "500m", "4Gi"], [-1, True, 1.5, "x", "4Gi\n", None, "1 "]),
        (StorageSize, [1, "12Gi", "0.5Gi"], [0, "0", "0.0Gi", "500m", "12Gx", -1]),
        (Price, [0, 3, "0.15", "12"], ["-1", "1.", ".5", "1k", 0.15, -1]),
    ],
    ids=["amount", "size", "price"],
)
def test_a_field_takes_numbers_and_text_that_match(
    kind: Any, good: list[object], bad: list[object]
):
    adapter: TypeAdapter[object] = TypeAdapter(kind)

    assert [adapter.validate_python(value) for value in good] == good
    for value in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def test_a_bad_quantity_comes_with_its_cure():
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(StorageSize).validate_python("12Gx")

    (error,) = caught.value.errors()
    assert error["type"] == "int_or_string"
    assert error["ctx"]["cure"] == "write for example 12Gi"


def test_the_schema_says_number_or_text():
    assert TypeAdapter(Price).json_schema() == {
        "x-kubernetes-int-or-string": True,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "minimum": 0,
        "pattern": r"^[0-9]+(\.[0-9]+)?$",
    }
