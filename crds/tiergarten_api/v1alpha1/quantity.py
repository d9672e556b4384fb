"""Kubernetes quantities such as `4Gi`, `500m` or `2`: what is one, and how much it is."""

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Annotated, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from tiergarten_api.v1alpha1.base import Rule

UNITS: Final = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
}
_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|Ki|Mi|Gi|Ti|k|M|G|T)?")


def amount(quantity: int | str) -> Decimal:
    """Return how much a quantity is, in its base unit (bytes, cores, pieces).

    Args:
        quantity: A number, or text such as `12Gi`.

    Raises:
        ValueError: It is not a quantity.
    """
    found = _QUANTITY.fullmatch(str(quantity))
    if found is None:
        raise ValueError(f"{quantity!r} is not a quantity; write for example 4Gi, 500m or 2")
    return Decimal(found[1]) * UNITS[found[2] or ""]


def whole(quantity: int | str) -> int:
    """Return how much a quantity is, rounded up: the bytes of `1.5Gi`.

    Raises:
        ValueError: It is not a quantity.
    """
    return int(amount(quantity).to_integral_value(ROUND_CEILING))


@dataclass(frozen=True, slots=True)
class IntOrString:
    """A number that may be written as text, as Kubernetes has it for quantities.

    Attributes:
        pattern: What the text must match; Kubernetes applies it to text only.
        example: What to write instead of a bad value.
    """

    pattern: str
    example: str

    def check(self, value: object) -> int | str:
        """Return the value.

        Raises:
            PydanticCustomError: It is no whole number of at least 0, and no text that matches.
        """
        is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        # fullmatch: Python's $ would let a line end through, which Go's does not.
        is_text = isinstance(value, str) and re.fullmatch(self.pattern.strip("^$"), value)
        if is_number or is_text:
            return value  # type: ignore[return-value]  # mypy does not follow the two flags
        message = "should match '{pattern}' or be a whole number of at least 0"
        context = {"pattern": self.pattern, "cure": f"write for example {self.example}"}
        raise PydanticCustomError("int_or_string", message, context)

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(
        self, _core: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "minimum": 0,
            "pattern": self.pattern,
        }


Amount = Annotated[
    int | str,
    IntOrString(r"^([0-9]+)(\.[0-9]+)?(m|Ki|Mi|Gi|Ti|k|M|G|T)?$", "4Gi, 500m or 2"),
]
"""A container resource."""

StorageSize = Annotated[
    int | str,
    IntOrString(r"^([0-9]+)(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$", "12Gi"),
    Rule(
        "type(self) == string ? isQuantity(self) && "
        'quantity(self).isGreaterThan(quantity("0")) : self > 0',
        "must be a positive quantity",
        check=lambda size: amount(size) > 0,
        cure="write for example 12Gi, or leave it out",
    ),
    Rule(
        "quantity(string(self)).compareTo(quantity(string(oldSelf))) >= 0",
        "a cache cannot shrink",
    ),
]
"""Size of a claim, more than 0."""

Price = Annotated[int | str, IntOrString(r"^[0-9]+(\.[0-9]+)?$", '"0.15"')]
"""A price as exact text, in the user's own currency."""
