"""From pydantic's JSON schema to a structural schema, the kind that Kubernetes takes in a CRD.

Called by `crd`. Pydantic's schema has references, "or null" and words that the API server refuses
or, worse, ignores; whatever is not known here raises, so that no rule is lost without a word.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

JsonSchema = dict[str, Any]

# In the order in which they are written, which is the order in which one reads them.
BOUNDS: Final = {
    "minimum": ("integer", None),
    "maximum": ("integer", None),
    "minLength": ("string",),
    "maxLength": ("string",),
    "pattern": ("string", None),
    "minItems": ("array",),
    "maxItems": ("array",),
    "minProperties": ("object",),
    "maxProperties": ("object",),
}
"""Each bound with the types that it says something about; None is a number or a text."""

# In the order in which they are written, which is the order in which one reads them.
KEYWORDS: Final = (
    "description",
    "type",
    "format",
    "enum",
    "default",
    *BOUNDS,
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
    "anyOf",
    "required",
    "additionalProperties",
    "properties",
    "items",
)
"""What a structural schema may hold here."""

DROPPED: Final = frozenset({"title", "$defs"})
"""What pydantic writes and Kubernetes has no use for."""


class NotStructural(ValueError):
    """Pydantic's schema says something that Kubernetes has no word for.

    Args:
        path: Where, as a field path.
        what: What it says, and what to write in the model instead.
    """

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path or 'the object'}: {what}")


def of(model: type[BaseModel]) -> JsonSchema:
    """Return the structural schema of a model.

    Raises:
        NotStructural: The model says something that Kubernetes has no word for.
    """
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return convert(schema, schema.get("$defs", {}))


def convert(
    schema: JsonSchema, definitions: Mapping[str, JsonSchema], path: str = ""
) -> JsonSchema:
    """Return a schema and all below it as structural schemas.

    Args:
        schema: As pydantic writes it.
        definitions: What its references name.
        path: Where it stands, for errors.

    Raises:
        NotStructural: It says something that Kubernetes has no word for.
    """
    found = {
        keyword: value
        for keyword, value in _flat(schema, definitions, path).items()
        if keyword not in DROPPED
    }
    if unknown := sorted(found.keys() - set(KEYWORDS)):
        cure = "; use ge and le instead of gt and lt, and json_schema_extra for the rest"
        raise NotStructural(path, f"Kubernetes does not know {', '.join(unknown)}{cure}")
    kind = found.get("type")
    if idle := [name for name, kinds in BOUNDS.items() if name in found and kind not in kinds]:
        raise NotStructural(path, f"{', '.join(idle)} says nothing about type {kind}")
    if "properties" in found:
        found["properties"] = {
            name: convert(field, definitions, f"{path}.{name}")
            for name, field in found["properties"].items()
        }
    if "items" in found:
        found["items"] = convert(found["items"], definitions, f"{path}[]")
    found |= _map_values(found.pop("additionalProperties", False), definitions, path)
    return {keyword: found[keyword] for keyword in KEYWORDS if keyword in found}


def _map_values(
    values: bool | JsonSchema,  # noqa: FBT001 # JSON Schema allows a boolean here
    definitions: Mapping[str, JsonSchema],
    path: str,
) -> JsonSchema:
    """Return the keywords that say what else an object may hold."""
    if values is True:
        return {"x-kubernetes-preserve-unknown-fields": True}
    if values is False:
        return {}  # the API server drops unknown fields, or refuses them when asked to be strict
    return {"additionalProperties": convert(values, definitions, f"{path}.*")}


def _flat(schema: JsonSchema, definitions: Mapping[str, JsonSchema], path: str) -> JsonSchema:
    """Return a schema without reference, "or null" and const."""
    outer = dict(schema)
    if reference := outer.pop("$ref", None):
        target = _target(reference, definitions, path)
        return _flat(target, definitions, path) | outer
    if "const" in outer:
        outer["enum"] = [outer.pop("const")]
    if "anyOf" in outer and not outer.get("x-kubernetes-int-or-string"):
        return _without_null(outer, definitions, path)
    return outer


def _target(reference: str, definitions: Mapping[str, JsonSchema], path: str) -> JsonSchema:
    name = reference.rpartition("/")[2]
    # Only an endless path can go round in circles: no resource nests this deep.
    if path.count(".") > len(definitions):
        raise NotStructural(path, f"{name} holds itself, which a CRD cannot say")
    return definitions[name]


def _without_null(
    schema: JsonSchema, definitions: Mapping[str, JsonSchema], path: str
) -> JsonSchema:
    choices = [choice for choice in schema.pop("anyOf") if choice != {"type": "null"}]
    if len(choices) != 1:
        raise NotStructural(path, "a union of types; only `T | None` can be said")
    outer = {name: it for name, it in schema.items() if (name, it) != ("default", None)}
    return _flat(choices[0], definitions, path) | outer
