"""Objects of the API server: lenient where a newer one may know more, strict elsewhere."""

import copy
import json
from typing import Any

import pytest

from slices import ROUTE, TIER, piece, tier
from tiergarten_router.sources.kube import reading
from tiergarten_router.sources.kube.reading import Unreadable


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def changed(manifest: dict[str, Any], field: str, value: object) -> bytes:
    body = copy.deepcopy(manifest)
    at = body
    *way, last = field.split(".")
    for part in way:
        at = at.setdefault(part, {})
    at[last] = value
    return encoded(body)


def test_a_tier_is_read_with_its_status() -> None:
    body = TIER | {"status": {"replicas": 3}}

    found = reading.tier(encoded(body))

    assert found.spec.model.name == "small"
    assert found.status is not None
    assert found.status.replicas == 3


@pytest.mark.parametrize(
    "field", ["spec.novel", "spec.model.novel", "spec.runtime.novel", "status.novel", "novel"]
)
def test_fields_of_a_newer_version_are_left_out(field: str) -> None:
    found = reading.tier(changed(TIER, field, {"deep": 1}))

    assert found.metadata.name == "q4"


def test_an_unknown_field_in_a_list_is_left_out() -> None:
    route = copy.deepcopy(ROUTE)
    route["spec"]["tiers"] = [{"name": "q2", "novel": 1}, {"name": "q4", "novel": 2}]

    assert [it.name for it in reading.route(encoded(route)).spec.tiers] == ["q2", "q4"]


def test_a_status_that_does_not_parse_never_stops_a_tier() -> None:
    found = reading.tier(encoded(TIER | {"status": {"replicas": "many"}}))

    assert found.status is None


def test_a_route_s_status_is_for_people() -> None:
    assert reading.route(encoded(ROUTE | {"status": 5})).status is None


def test_a_problem_names_field_value_and_cure() -> None:
    with pytest.raises(Unreadable, match=r"spec\.runtime\.parallel: must be a whole number .*x.*;"):
        reading.tier(changed(TIER, "spec.runtime.parallel", "x"))


def test_a_bad_field_beside_an_unknown_one_is_told() -> None:
    body = changed(TIER, "spec.novel", 1)

    with pytest.raises(Unreadable, match=r"^spec\.replicas: "):
        reading.tier(
            encoded(json.loads(body) | {"spec": json.loads(body)["spec"] | {"replicas": []}})
        )


def test_many_problems_are_counted() -> None:
    bad = tier(replicas="x", suspend="x", routing="x", rollout="x", cache="x")

    with pytest.raises(Unreadable, match=r" \| and 2 more$"):
        reading.tier(encoded(bad))


def test_secrets_are_not_told() -> None:
    bad = tier(runtime={"extraEnv": [{"name": "TOKEN", "value": ["hunter2"]}]})

    with pytest.raises(Unreadable) as caught:
        reading.tier(encoded(bad))

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"[]", b"5", b"null", b"{", b"\xff", b'{"spec": {}}', b"{}"])
def test_what_is_no_object_is_unreadable(raw: bytes) -> None:
    for read in (reading.tier, reading.route):
        with pytest.raises(Unreadable):
            read(raw)


def test_a_slice_is_read() -> None:
    assert reading.rows(encoded(piece("a"))).service == ("", "q4")


def test_a_slice_that_does_not_parse_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        reading.rows(b'{"metadata": {}, "endpoints": 5}')
