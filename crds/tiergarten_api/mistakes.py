"""What pydantic finds wrong with an object, in a user's words. Called by `manifests`."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tiergarten_api import structural
from tiergarten_api.documents import Document, Path
from tiergarten_api.problems import Finding, field_path, shown
from tiergarten_api.v1alpha1 import Schema

Words = tuple[str, str]
"""Message and cure."""

ALLOWED: Final = {
    r"^[a-z0-9]([a-z0-9._/:-]*[a-z0-9])?$": "lower-case letters and digits, and . _ / : - inside",
    r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$": "lower-case letters and digits, and - inside",
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$": "lower-case letters and digits, and - inside",
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$": "lower-case letters and "
    "digits, and - inside",
    r"^[\w.-]+/[\w.-]+$": "OWNER/NAME, such as org/model-GGUF",
    r"^[a-f0-9]{64}$": "the 64 hexadecimal digits that sha256sum prints, in lower case",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "letters, digits and _, with no digit in front",
}
"""What a text may be, for people, by the pattern that says it for programs."""


@dataclass(frozen=True, slots=True)
class _Mistake:
    """One finding of pydantic with all that is known about its place.

    Attributes:
        path: Where in the document.
        value: The bad value.
        written: The value as it is written, when that is a bare word or number.
        context: What pydantic knows of the broken bound.
        schema: What the schema says about the field.
        fields: Names that the object around it may have.
    """

    path: Path
    value: object
    written: str | None
    context: Mapping[str, Any]
    schema: structural.JsonSchema
    fields: tuple[str, ...]

    @property
    def name(self) -> str:
        """The field's name; an item's is that of its list."""
        return next((part for part in reversed(self.path) if isinstance(part, str)), "")


def findings(error: ValidationError, model: type[Schema], document: Document) -> list[Finding]:
    """Return what pydantic found, in the order of the file.

    Args:
        error: What `model` raised for the document.
        model: ModelTier or TierRoute.
        document: Whose value it read.
    """
    details = [detail for detail in error.errors(include_url=False) if not _is_echo(detail)]
    found = [_finding(detail, model, document) for detail in details]
    return sorted(found, key=lambda finding: document.place(finding.path).line)


def _is_echo(detail: ErrorDetails) -> bool:
    """Return whether a list is called too short only because its items are bad."""
    return detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]


def _finding(detail: ErrorDetails, model: type[Schema], document: Document) -> Finding:
    context = detail.get("ctx", {})
    path: Path = (*detail["loc"], *_inner(str(context.get("path", ""))))
    place = document.places.get(path)
    mistake = _Mistake(
        path=path,
        value=_at(document.value, path),
        written=place.text if place else None,
        context=context,
        schema=_schema(model, path),
        fields=tuple(_schema(model, path[:-1]).get("properties", ())),
    )
    message, cure = WORDS.get(detail["type"], _other)(mistake)
    if detail["type"] == "extra_forbidden":
        cure = _bare_key(document, path) or cure
        return Finding(path, message, cure)  # nobody knows whether its value is secret
    if isinstance(mistake.value, bool) and mistake.written not in {None, "true", "false"}:
        message += ", and a bare word such as this is a boolean in YAML"
        cure = f'quote it: {mistake.name}: "{mistake.written}"'
    return Finding(path, message, cure, str(context.get("blamed") or shown(mistake.value, path)))


def _inner(path: str) -> Path:
    """Return what a rule blames inside its object, as a path: `.cache.mode`, `[1]`."""
    if path.startswith("["):
        return (int(path.strip("[]")),)
    return tuple(path.split(".")[1:])


def _at(value: object, path: Path) -> object:
    for part in path:
        if isinstance(part, int):
            value = value[part] if isinstance(value, list) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


@cache
def _root(model: type[Schema]) -> structural.JsonSchema:
    return structural.of(model)


def _schema(model: type[Schema], path: Path) -> structural.JsonSchema:
    """Return what the schema says about a path; nothing for one that it does not know."""
    schema = _root(model)
    for part in path:
        others = schema.get("additionalProperties", {})
        is_item = isinstance(part, int)
        schema = (
            schema.get("items", {}) if is_item else schema.get("properties", {}).get(part, others)
        )
    return schema


def _bare_key(document: Document, path: Path) -> str:
    """Return the cure for a name that YAML reads as a boolean: `on:` is `true:`."""
    key = document.place(path).key
    return f'quote the name: "{key}":' if path[-1] in {"true", "false"} and key != path[-1] else ""


def _missing(mistake: _Mistake) -> Words:
    needed = " and ".join(mistake.schema.get("required", ()))
    return "is missing", f"add {field_path(mistake.path)}{f' with {needed}' if needed else ''}"


def _unknown(mistake: _Mistake) -> Words:
    near = difflib.get_close_matches(mistake.name, mistake.fields, n=1, cutoff=0.6)
    cure = f"write {near[0]}" if near else f"take it out; there are {', '.join(mistake.fields)}"
    return "is not a field", cure


def _text(mistake: _Mistake) -> Words:
    if isinstance(mistake.value, dict | list):
        return "must be a text", "write one value after the colon"
    return "must be a text", "put it in quotes"


def _number(mistake: _Mistake) -> Words:
    if isinstance(mistake.value, str) and mistake.value.isdecimal():
        return "must be a whole number", "write it without quotes"
    return "must be a whole number", _range(mistake)


def _bound(mistake: _Mistake) -> Words:
    word, bound = next(iter(mistake.context.items()))
    return f"must be at {'least' if word == 'ge' else 'most'} {bound}", _range(mistake)


def _range(mistake: _Mistake) -> str:
    least, most = mistake.schema.get("minimum"), mistake.schema.get("maximum")
    return "write a whole number" if most is None else f"write a number from {least} to {most}"


def _boolean(_mistake: _Mistake) -> Words:
    return "must be true or false", "write true or false, without quotes"


def _choice(mistake: _Mistake) -> Words:
    choices = [str(choice) for choice in mistake.schema.get("enum", ())]
    near = difflib.get_close_matches(str(mistake.value), choices, n=1)
    cure = (
        f"write {_quoted(near[0])}" if near else f"write one of {', '.join(map(_quoted, choices))}"
    )
    return "is none of the values that it may have", cure


def _quoted(word: str) -> str:
    return f'"{word}"' if word in {"on", "off"} else word


def _pattern(mistake: _Mistake) -> Words:
    pattern = mistake.context["pattern"]
    return "is not written as it must be", f"use {ALLOWED.get(pattern, pattern)}"


def _length(mistake: _Mistake) -> Words:
    least, most = mistake.context.get("min_length"), mistake.context.get("max_length")
    value = mistake.value
    number = len(value) if isinstance(value, str | list | dict) else 0
    unit = "characters" if isinstance(value, str) else "entries"
    if most is None:
        return f"has {number} {unit} and must have at least {least}", "fill it, or leave it out"
    return f"has {number} {unit} and may have at most {most}", "shorten it"


def _list(_mistake: _Mistake) -> Words:
    return "must be a list", "begin each item with '- ' on a line below it"


def _mapping(_mistake: _Mistake) -> Words:
    return "must be a mapping", "write its fields on lines below it, indented"


def _rule(mistake: _Mistake) -> Words:
    return mistake.context["message"], mistake.context["cure"]


def _duplicate(_mistake: _Mistake) -> Words:
    return "is there twice", "keep one of the two"


def _quantity(mistake: _Mistake) -> Words:
    if isinstance(mistake.value, float):
        return "must be exact, so a fraction is written as text", f'quote it: "{mistake.written}"'
    return "must be a quantity of at least 0", mistake.context["cure"]


def _other(mistake: _Mistake) -> Words:
    reason = mistake.context.get("error", "is not what it must be")
    return str(reason), mistake.schema.get("description", "see the reference of the field")


WORDS: Final[dict[str, Callable[[_Mistake], Words]]] = {
    "missing": _missing,
    "extra_forbidden": _unknown,
    "string_type": _text,
    "int_type": _number,
    "bool_type": _boolean,
    "tuple_type": _list,
    "dict_type": _mapping,
    "model_type": _mapping,
    "literal_error": _choice,
    "string_pattern_mismatch": _pattern,
    "string_too_short": _length,
    "string_too_long": _length,
    "too_short": _length,
    "too_long": _length,
    "greater_than_equal": _bound,
    "less_than_equal": _bound,
    "rule": _rule,
    "duplicate": _duplicate,
    "int_or_string": _quantity,
}
"""By pydantic's name for the mistake."""
