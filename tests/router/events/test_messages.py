"""Events with their place, and the schema that describes them."""

import json

import pytest

from subscribing import event
from tiergarten_router.events import kinds, messages
from tiergarten_router.events.kinds import KINDS


def test_an_event_gets_its_router_and_its_place_without_being_encoded_again() -> None:
    body = messages.envelope("router-a", kinds.encode(event(3)))

    placed = json.loads(messages.placed("feed", 7, body))
    unplaced = json.loads(messages.unplaced(body))

    assert (placed["epoch"], placed["seq"], placed["router"], placed["v"]) == (
        "feed", 7, "router-a", messages.VERSION,
    )  # fmt: skip
    assert unplaced["durable"] is False
    assert "seq" not in unplaced
    assert placed["type"] == unplaced["type"] == "query.attempt"


def test_a_lag_is_written_with_from_and_to() -> None:
    found = json.loads(messages.encode(messages.Lagged(first=1, last=9, count=9)))

    assert found == {"type": "lagged", "from": 1, "to": 9, "count": 9}


@pytest.mark.parametrize("tag", KINDS)
def test_the_schema_describes_what_is_sent(tag: str) -> None:
    document = json.loads(messages.schema())
    name = KINDS[tag].__name__
    described = document["$defs"][name]

    assert {"$ref": f"#/$defs/{name}"} in document["oneOf"]
    assert described["properties"]["type"]["enum"] == [tag]
    sent = {*KINDS[tag].__struct_fields__, "type", "v", "router"}
    assert set(described["required"]) == sent
    assert set(described["properties"]) == sent | {"epoch", "seq", "durable"}
