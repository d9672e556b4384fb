"""Kinds of events: tags, sizes, and what may not be in them."""

from typing import Any, get_args

import msgspec
import pytest

from tiergarten_router.core.breaker import Phase
from tiergarten_router.events import kinds
from tiergarten_router.events.kinds import KINDS, AnyEvent

FAMILIES = {"query", "tier", "endpoint", "breaker", "fetch", "cache", "config", "router"}
LONGEST = {str: "x" * 63, float: 1e12, int: 10**12, bool: True, tuple[str, ...]: ("x" * 63,) * 16}
FORBIDDEN = {"prompt", "text", "answer", "content", "message", "key", "token", "url", "address"}


def largest(kind: type[kinds.Event]) -> kinds.Event:
    """Return an event whose fields are as long as they may be."""
    hints = {field.name: field.type for field in msgspec.structs.fields(kind)}
    types = {name: next(iter(get_args(hint)), hint) for name, hint in hints.items()}
    values: dict[str, Any] = {
        name: LONGEST[hints[name]] if hints[name] in LONGEST else LONGEST[types[name]]
        for name in hints
    }
    return kind(**values)


@pytest.mark.parametrize("tag", KINDS)
def test_each_kind_has_a_family_a_sentence_and_bounded_harmless_fields(tag: str) -> None:
    kind = KINDS[tag]

    assert tag.partition(".")[0] in FAMILIES
    assert kind.__doc__
    assert not set(kind.__struct_fields__) & FORBIDDEN
    made = largest(kind)
    body = kinds.encode(made)
    assert len(body) < 4096
    assert b"\n" not in body
    assert msgspec.json.decode(body, type=AnyEvent) == made


def test_every_phase_of_a_breaker_has_a_kind() -> None:
    assert set(kinds.BREAKERS) == {phase.value for phase in Phase}
