"""Messages to subscribers: an event with its place, and the notices about the stream itself."""

from functools import cache
from typing import Any, Final, TypeAlias, get_args

import msgspec
from msgspec import Struct

from tiergarten_router.events.kinds import AnyEvent

VERSION: Final = 1  # of all kinds together; a field that is added does not change it


class Heartbeat(Struct, frozen=True, tag_field="type", tag="heartbeat"):
    """Where the stream stands: everything up to `seq` has been sent, as far as it was asked for."""

    epoch: str
    seq: int


class Reset(Struct, frozen=True, tag_field="type", tag="reset"):
    """What was asked for, or what came in between, cannot be told; live goes on after `seq`.

    Attributes:
        reason: `epoch`: another epoch began. `window`: too old. `future`: not told yet. `outage`:
            Redis was away, and what was told meanwhile has no sequence.
    """

    epoch: str
    seq: int
    reason: str


class Lagged(Struct, frozen=True, tag_field="type", tag="lagged"):
    """The client read too slowly, and events were dropped.

    Attributes:
        first: Sequence of the first one, null if it had none. Written as `from`.
        last: Sequence of the last one, null if it had none. Written as `to`.
        count: How many.
    """

    first: int | None = msgspec.field(name="from")
    last: int | None = msgspec.field(name="to")
    count: int


class Closed(Struct, frozen=True, tag_field="type", tag="closed"):
    """The stream ends here, as a WebSocket's close says it; the last event of SSE."""

    code: int
    reason: str


Notice: TypeAlias = Heartbeat | Reset | Lagged | Closed
encode = msgspec.json.Encoder().encode


def envelope(router: str, payload: bytes) -> bytes:
    """Return an event's JSON with the schema's version and the router that told it.

    Args:
        router: The router's name.
        payload: The event's own JSON.
    """
    return b'{"v":%d,"router":"%s",%s' % (VERSION, router.encode(), payload[1:])


def placed(epoch: str, seq: int, payload: bytes) -> bytes:
    """Return an event's JSON with its place in the stream."""
    return b'{"epoch":"%s","seq":%d,%s' % (epoch.encode(), seq, payload[1:])


def unplaced(payload: bytes) -> bytes:
    """Return the JSON of an event that has no place, because Redis was away."""
    return b'{"durable":false,%s' % payload[1:]


@cache
def schema() -> bytes:
    """Return the JSON Schema of everything that a subscriber may get."""
    described = [*get_args(AnyEvent), *get_args(Notice)]
    refs, components = msgspec.json.schema_components(described, ref_template="#/$defs/{name}")
    place: dict[str, Any] = {
        "v": {"const": VERSION},
        "router": {"type": "string", "description": "The router that told it."},
        "epoch": {"type": "string", "description": "Sequences of two epochs do not compare."},
        "seq": {"type": "integer", "minimum": 1},
        "durable": {"const": False, "description": "Told while Redis was away: no epoch, no seq."},
    }
    for kind in get_args(AnyEvent):
        components[kind.__name__]["properties"] |= place
        components[kind.__name__]["required"] += ["v", "router"]
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Tiergarten's events, version {VERSION}",
        "oneOf": refs,
        "$defs": components,
    }
    return msgspec.json.encode(document)
