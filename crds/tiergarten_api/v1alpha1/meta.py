"""What Tiergarten reads of an object's metadata, and the conditions that all statuses share."""

import re
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from tiergarten_api.v1alpha1.base import Int64, ListOf, Schema

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"


class OwnerReference(Schema):
    """The object that another one belongs to; it goes when its owner goes."""

    model_config = ConfigDict(extra="ignore")

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Schema):
    """The part of metadata that Tiergarten reads; the rest is ignored."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[
        str, StringConstraints(min_length=1, max_length=253, pattern=rf"^{_LABEL}(\.{_LABEL})*$")
    ]
    namespace: Annotated[str, StringConstraints(max_length=63, pattern=rf"^{_LABEL}$")] | None = (
        None
    )
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    uid: str | None = None
    generation: int | None = None
    resource_version: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    finalizers: Annotated[tuple[str, ...], ListOf("set")] = ()
    owner_references: Annotated[tuple[OwnerReference, ...], ListOf("map", "uid")] = ()


class SecretKeyRef(Schema):
    """A key of a Secret in the tier's namespace."""

    name: str = Field(max_length=253, description="Name of the Secret, in the tier's namespace.")
    key: str = Field("token", max_length=253, description="Key in the Secret's data.")


# RFC 3339, which is narrower than what Python takes for a moment: with T, seconds and a zone.
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})")


def _moment(text: str) -> str:
    if not _MOMENT.fullmatch(text.upper()):
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z")
    datetime.fromisoformat(text.upper())  # raises for a month 13
    return text


class Condition(Schema):
    """One observation about an object, in the shape that all of Kubernetes uses."""

    type: str = Field(max_length=316, description="What was observed, such as Ready.")
    status: Literal["True", "False", "Unknown"] = Field(
        description="Whether it holds; Unknown while that cannot be told."
    )
    observed_generation: Int64 | None = Field(
        None, ge=0, description="The metadata.generation that this was observed of."
    )
    last_transition_time: Annotated[str, AfterValidator(_moment)] = Field(
        json_schema_extra={"format": "date-time"},
        description="When status changed last; a change of reason or message does not move it.",
    )
    reason: str = Field(
        min_length=1,
        max_length=1024,
        pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
        description="One word that says why, for programs.",
    )
    message: str = Field(
        max_length=32768, description="A sentence that names the object and the cure, for people."
    )


Conditions = Annotated[tuple[Condition, ...], ListOf("map", "type")]
