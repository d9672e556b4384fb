"""What the guard refuses that the parser lets pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router.api import guard
from tiergarten_router.api.guard import HEAD_BYTES, HEADERS_MAX, Guard, Headers
from tiergarten_router.errors import BodyTooLarge, HeadTooLarge, InvalidRequest, RouterError

HOST = (b"host", b"x")
UPGRADE = (b"upgrade", b"websocket")


def refused(
    headers: Headers, *, optional_host: bool = False, leaves: bool = False, sockets: bool = True
) -> type[RouterError] | None:
    strict = Guard(body_bytes=1000, sockets=sockets)
    error = strict.head(headers, dict(headers), optional_host=optional_host, leaves=leaves)
    return None if error is None else type(error)


@pytest.mark.parametrize(
    "host", [b"x", b"x:80", b"[::1]:80", b"", b"a.b-c_d~e", b"1.2.3.4"], ids=repr
)
def test_one_host_is_taken(host: bytes) -> None:
    assert refused([(b"host", host)]) is None


@pytest.mark.parametrize(
    "hosts",
    [[], [b"a", b"b"], [b"a", b"a"], [b"a/b?x="], [b"a b"], [b"a\\b"], [b"a@b"], [b"\xff"]],
    ids=repr,
)
def test_no_host_two_of_them_and_one_that_is_none_are_refused(hosts: list[bytes]) -> None:
    assert refused([(b"host", host) for host in hosts]) is InvalidRequest


def test_before_http_1_1_a_host_may_be_missing_but_not_be_wrong() -> None:
    assert refused([], optional_host=True) is None
    assert refused([HOST, HOST], optional_host=True) is InvalidRequest
    assert refused([(b"host", b"/")], optional_host=True) is InvalidRequest


def test_other_headers_may_come_more_than_once() -> None:
    assert refused([HOST, (b"accept", b"a"), (b"accept", b"b")]) is None


def test_there_are_only_so_many_headers() -> None:
    more = [(b"x-%d" % number, b"") for number in range(HEADERS_MAX - 1)]

    assert refused([HOST, *more]) is None
    assert refused([HOST, *more, (b"y", b"")]) is HeadTooLarge


@pytest.mark.parametrize(
    ("headers", "leaves", "sockets"),
    [
        ([HOST, (b"upgrade", b"h2c")], True, True),
        ([HOST, (b"upgrade", b"h2c")], False, True),  # without Connection: upgrade
        ([HOST, UPGRADE], True, False),
        ([HOST, UPGRADE, (b"content-length", b"0")], True, True),
        ([HOST, UPGRADE, (b"transfer-encoding", b"chunked")], True, True),
        ([HOST], True, True),  # CONNECT
    ],
)
def test_only_websockets_may_leave_http(headers: Headers, leaves: bool, sockets: bool) -> None:  # noqa: FBT001 -- the cases' own
    assert refused(headers, leaves=leaves, sockets=sockets) is InvalidRequest


def test_a_websocket_may_come() -> None:
    assert refused([HOST, (b"upgrade", b"WebSocket")], leaves=True) is None


def test_a_body_that_is_declared_too_long_is_refused_before_it_comes() -> None:
    assert refused([HOST, (b"content-length", b"1000")]) is None
    assert refused([HOST, (b"content-length", b"1001")]) is BodyTooLarge
    assert refused([HOST, (b"content-length", b"9" * 30)]) is BodyTooLarge


@given(st.integers(0, 10**6))
def test_what_is_refused_depends_on_its_size_alone(size: int) -> None:
    strict = Guard(body_bytes=1000, sockets=False)

    assert (strict.body(size) is None) == (size <= 1000)
    assert (strict.arrived(size, heading=True) is None) == (size <= HEAD_BYTES)
    assert (strict.arrived(size, heading=False) is None) == (size <= HEAD_BYTES + 2000)


def test_the_size_of_a_head_is_that_of_its_parts() -> None:
    assert guard.size(b"/path", [(b"ab", b"cde"), (b"f", b"")]) == 11
