"""Reads objects that the API server sent. Pure; called by `reflector`, told by `source`.

The API server has checked the object by its own CRD, which may be a newer one than this router:
fields that are not known here are left out, as Kubernetes' clients do. Anything else that does not
fit makes the object unreadable, with a problem in the user's words.
"""

from typing import Any, Final, TypeVar

import msgspec
from pydantic import ValidationError

from tiergarten_api import mistakes
from tiergarten_api.documents import Document, Place
from tiergarten_api.problems import Finding, field_path
from tiergarten_api.v1alpha1 import ModelTier, ModelTierStatus, Schema, TierRoute
from tiergarten_router.sources.kube import join, objects

_Model = TypeVar("_Model", bound=Schema)

SHOWN: Final = 3
"""Most mistakes of one object that are told."""


class Unreadable(Exception):
    """An object that cannot be used; the message says why, without secrets."""


def tier(raw: bytes | msgspec.Raw) -> ModelTier:
    """Return a tier.

    Raises:
        Unreadable: If it does not parse. Its status never is the reason: it is left out then.
    """
    value = _decoded(raw)
    said = value.pop("status", None)
    found = _validated(ModelTier, value)
    try:
        status = None if said is None else _validated(ModelTierStatus, said)
    except Unreadable:
        return found
    return found.model_copy(update={"status": status})


def route(raw: bytes | msgspec.Raw) -> TierRoute:
    """Return a route without its status, which is for people.

    Raises:
        Unreadable: If it does not parse.
    """
    value = _decoded(raw)
    value.pop("status", None)
    return _validated(TierRoute, value)


def rows(raw: bytes | msgspec.Raw) -> join.Rows:
    """Return what an EndpointSlice says.

    Raises:
        Unreadable: If it does not parse.
    """
    try:
        return join.rows(objects.endpoint_slice(raw))
    except msgspec.MsgspecError as error:
        raise Unreadable(str(error)) from error


def _decoded(raw: bytes | msgspec.Raw) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise Unreadable(f"is no object: {error}") from error


def _validated(model: type[_Model], value: object) -> _Model:
    try:
        return model.model_validate(value, by_alias=True, by_name=False)
    except ValidationError as error:
        unknown = [d["loc"] for d in error.errors() if d["type"] == "extra_forbidden"]
        for path in unknown:
            _drop(value, path)
        if not unknown:
            raise Unreadable(_problem(error, model, value)) from error
    return _validated(model, value)


def _drop(value: Any, path: tuple[int | str, ...]) -> None:  # noqa: ANN401 -- any JSON
    for part in path[:-1]:
        value = value[part]
    del value[path[-1]]


def _problem(error: ValidationError, model: type[Schema], value: object) -> str:
    found = mistakes.findings(error, model, Document(1, value, {(): Place(1)}))
    more = len(found) - SHOWN
    return " | ".join(map(_line, found[:SHOWN])) + (f" | and {more} more" if more > 0 else "")


def _line(found: Finding) -> str:
    value = f" (it is {found.value})" if found.value else ""
    return f"{field_path(found.path)}: {found.message}{value}; {found.cure}"
