"""What all models of the API share: strictness, rules, kinds of list.

A rule stands once, as CEL for the API server and as Python for local mode, with one message. The
CRD generator finds both `x-kubernetes-validations` and the list kinds in pydantic's JSON schema.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_T = TypeVar("_T")

RULES = "x-kubernetes-validations"

Int32 = Annotated[int, Field(json_schema_extra={"format": "int32"})]
Int64 = Annotated[int, Field(json_schema_extra={"format": "int64"})]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule beyond types and bounds; also usable as `Annotated[str, Rule(...)]`.

    Attributes:
        cel: What the API server evaluates.
        message: What it says when the rule fails.
        check: The same in Python: whether a value is good. None for a rule about a change
            (`oldSelf`), which only the API server can see.
        cure: What the user should write instead, for local mode.
        field_path: The field to blame, as CEL wants it (`.files`), if not the value itself.
        blame: The part of a bad value to show, when the whole would be long or tell a secret.
        reason: Kubernetes' word for the kind of mistake, if not FieldValueInvalid.
    """

    cel: str
    message: str
    check: Callable[[Any], bool] | None = None
    cure: str = ""
    field_path: str | None = None
    blame: Callable[[Any], str] | None = None
    reason: str | None = None

    def verify(self, value: _T) -> _T:
        """Return the value.

        Raises:
            PydanticCustomError: Of type `rule` when the value breaks it.
        """
        if self.check is not None and not self.check(value):
            context = {"message": self.message, "cure": self.cure, "path": self.field_path or ""}
            blamed = {} if self.blame is None else {"blamed": self.blame(value)}
            raise PydanticCustomError("rule", "{message}", context | blamed)
        return value

    def manifest(self) -> dict[str, str]:
        """Return the rule as an item of `x-kubernetes-validations`."""
        fields = {
            "rule": self.cel,
            "fieldPath": self.field_path,
            "message": self.message,
            "reason": self.reason,
        }
        return {name: text for name, text in fields.items() if text is not None}

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.verify, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core)
        return {**schema, RULES: [*schema.get(RULES, []), self.manifest()]}


@dataclass(frozen=True, slots=True)
class ListOf:
    """How the API server merges a list, and with it what may not stand in it twice.

    Attributes:
        kind: `atomic`: replaced whole. `set`: values are unique. `map`: items are unique by key.
        key: The field that names an item of a map.
    """

    kind: Literal["atomic", "set", "map"]
    key: str = ""

    def verify(self, items: tuple[_T, ...]) -> tuple[_T, ...]:
        """Return the items.

        Raises:
            PydanticCustomError: Of type `duplicate` when a key or value is there twice.
        """
        if self.kind == "atomic":
            return items
        seen: set[Hashable] = set()
        for index, item in enumerate(items):
            name: Any = getattr(item, self.key) if self.kind == "map" else item
            if name in seen:
                context = {"blamed": str(name), "path": f"[{index}]"}
                raise PydanticCustomError("duplicate", "Duplicate value: {blamed}", context)
            seen.add(name)
        return items

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        # Bounds of the length stand before this one in Annotated: after it, or in the Field of an
        # optional list, pydantic would write them as bounds of a text. And strict mode takes
        # no list where a tuple is declared, and YAML has only lists.
        inner = core_schema.no_info_before_validator_function(_as_tuple, handler(source))
        return core_schema.no_info_after_validator_function(self.verify, inner)

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core) | {"x-kubernetes-list-type": self.kind}
        return schema | ({"x-kubernetes-list-map-keys": [self.key]} if self.key else {})


def without_nulls(values: object) -> object:
    """Return a mapping without what is null, as the API server reads it; else the value itself."""
    if not isinstance(values, dict):
        return values
    return {name: value for name, value in values.items() if value is not None}


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class Schema(BaseModel):
    """A frozen object of the API, as strict as the API server.

    Attributes are snake_case in Python and camelCase in YAML. None and "not given" are the same,
    as for the API server, which drops a null before it looks for a default.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        known = _names(cls)
        return {name: it for name, it in values.items() if it is not None or name not in known}

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        for rule in self.rules:
            rule.verify(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core)
        if cls.rules:
            handler.resolve_ref_schema(schema)[RULES] = [rule.manifest() for rule in cls.rules]
        return schema


@cache
def _names(model: type[Schema]) -> frozenset[str]:
    fields = model.model_fields
    return frozenset(fields) | {field.alias or name for name, field in fields.items()}
