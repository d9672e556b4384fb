"""What is read of the API server's JSON, and what is not."""

import json

import msgspec
import pytest

from slices import READY, piece, pod
from tiergarten_router.sources.kube import objects


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def test_a_slice_keeps_what_the_join_needs_and_skips_the_rest() -> None:
    body = piece("a", pod("10.0.0.1", "p", READY) | {"nodeName": "n", "zone": "z"})
    body["metadata"] |= {"namespace": "ns", "managedFields": [{"fieldsV1": {"f:x": {}}}]}

    found = objects.endpoint_slice(encoded(body))

    assert found.metadata.key == ("ns", "a")
    assert found.endpoints is not None
    assert found.endpoints[0].target_ref == objects.Reference("Pod", "p", "uid-of-p")
    assert found.ports == [objects.Port("http", 8080, "TCP")]


def test_nulls_are_read_as_the_api_server_writes_them() -> None:
    body = piece("a") | {"endpoints": None, "ports": None}

    found = objects.endpoint_slice(encoded(body))

    assert (found.endpoints, found.ports) == (None, None)


def test_a_page_says_where_the_list_goes_on() -> None:
    body = {"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [{"a": 1}, 5]}

    page = objects.page(encoded(body))

    assert (page.metadata.resource_version, page.metadata.continue_) == ("7", "more")
    assert [bytes(item) for item in page.items or ()] == [b'{"a": 1}', b"5"]


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"type": 1, "object": {}}', b"\xff"])
def test_what_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        objects.event(line)


@pytest.mark.parametrize("raw", [b"", b"<html>", b"5", b'{"code": "x"}'])
def test_an_answer_that_gives_no_reason_has_an_empty_one(raw: bytes) -> None:
    assert objects.status(raw) == objects.Status()


def test_a_reason_is_read() -> None:
    raw = encoded({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"})

    assert objects.status(raw) == objects.Status(410, "Expired", "too old")
