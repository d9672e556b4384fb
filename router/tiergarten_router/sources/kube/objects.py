"""What the API server sends, as far as the router reads it. Pure; used by `reflector` and `join`.

msgspec skips all other fields without making objects of them: a list of 10,000 endpoints is read in
milliseconds.
"""

from typing import Final, TypeAlias

import msgspec

Key: TypeAlias = tuple[str, str]
"""Namespace and name of an object."""


class Meta(msgspec.Struct, rename="camel", frozen=True):
    """The head of an object, or of a list."""

    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")

    @property
    def key(self) -> Key:
        """What the object is known by."""
        return self.namespace, self.name


class Head(msgspec.Struct, frozen=True):
    """An object of which only the head is read."""

    metadata: Meta


class Page(msgspec.Struct, frozen=True):
    """A part of a list; the items are read one by one, so that a bad one spoils no other."""

    metadata: Meta
    items: list[msgspec.Raw] | None = None


class Event(msgspec.Struct, frozen=True):
    """A line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR, and what it is about."""

    type: str
    object: msgspec.Raw


class Status(msgspec.Struct, frozen=True):
    """Why the API server says no."""

    code: int = 0
    reason: str = ""
    message: str = ""


class Reference(msgspec.Struct, frozen=True):
    """What an address belongs to."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class Conditions(msgspec.Struct, frozen=True):
    """What an address is good for; null where nobody has said."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class SliceEndpoint(msgspec.Struct, rename="camel", frozen=True):
    """One entry of an EndpointSlice."""

    addresses: list[str] | None = None
    conditions: Conditions | None = None
    hostname: str | None = None
    target_ref: Reference | None = None


class Port(msgspec.Struct, frozen=True):
    """A port of all entries of an EndpointSlice."""

    name: str | None = None
    port: int | None = None
    protocol: str | None = None


class Slice(msgspec.Struct, rename="camel", frozen=True):
    """An EndpointSlice: up to 1,000 addresses of one family, of one Service."""

    metadata: Meta
    address_type: str = ""
    endpoints: list[SliceEndpoint] | None = None
    ports: list[Port] | None = None


SERVICE: Final = "kubernetes.io/service-name"
"""Label of an EndpointSlice: the Service that it belongs to."""

page: Final = msgspec.json.Decoder(Page).decode
event: Final = msgspec.json.Decoder(Event).decode
head: Final = msgspec.json.Decoder(Head).decode
endpoint_slice: Final = msgspec.json.Decoder(Slice).decode


def status(raw: bytes | msgspec.Raw) -> Status:
    """Return why the API server says no; an empty one if it does not say."""
    try:
        return msgspec.json.decode(raw, type=Status)
    except msgspec.MsgspecError:
        return Status()
