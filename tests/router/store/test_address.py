"""A Redis' URL is parsed once; what is wrong with it is named without showing it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router.store.address import Address, InvalidURL, Kind, parse

SERVER, SOCKET, SENTINEL, CLUSTER = Kind.SERVER, Kind.SOCKET, Kind.SENTINEL, Kind.CLUSTER


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache", Address(SERVER, (("cache", 6379),))),
        ("redis://cache:7000/3", Address(SERVER, (("cache", 7000),), db=3)),
        ("redis://cache?db=4", Address(SERVER, (("cache", 6379),), db=4)),
        ("redis://[::1]:7000", Address(SERVER, (("::1", 7000),))),
        ("redis://[::1]", Address(SERVER, (("::1", 6379),))),
        (
            "redis://me:p%40ss@cache",
            Address(SERVER, (("cache", 6379),), username="me", password="p@ss"),  # noqa: S106 -- a test's
        ),
        ("redis://:pw@cache", Address(SERVER, (("cache", 6379),), password="pw")),  # noqa: S106 -- a test's
        (
            "rediss://cache?ca_file=/ca.pem&cert_file=/c.pem&key_file=/k.pem",
            Address(
                SERVER,
                (("cache", 6379),),
                tls=True,
                files={"ca_file": "/ca.pem", "cert_file": "/c.pem", "key_file": "/k.pem"},
            ),
        ),
        ("unix:///run/redis.sock", Address(SOCKET, path="/run/redis.sock")),
        (
            "unix://:pw@/run/redis.sock?db=1",
            Address(SOCKET, path="/run/redis.sock", db=1, password="pw"),  # noqa: S106 -- a test's
        ),
        (
            "redis+sentinel://a,b:26380/main/2?sentinel_password=s",
            Address(
                SENTINEL,
                (("a", 26379), ("b", 26380)),
                service="main",
                db=2,
                sentinel_password="s",  # noqa: S106 -- a test's
            ),
        ),
        ("redis+cluster://a:1,b:2", Address(CLUSTER, (("a", 1), ("b", 2)))),
        ("rediss+cluster://a", Address(CLUSTER, (("a", 6379),), tls=True)),
        ("rediss+sentinel://a/s", Address(SENTINEL, (("a", 26379),), service="s", tls=True)),
    ],
)
def test_every_form_is_understood(url, address):
    assert parse(url) == address


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://:secret@cache", "begins with none of the known schemes; write redis://host"),
        ("cache:6379", "begins with none of the known schemes"),
        ("redis://[::1", "begins with none of the known schemes"),
        ("redis://:secret@", "a host is missing; write redis://host"),
        ("redis://:secret@a:port", "port of a host is no number from 1 to 65535"),
        ("redis://:secret@a:0", "port of a host is no number"),
        ("redis://:secret@a:70000", "port of a host is no number"),
        ("redis://:secret@a/x", "database is no number from 0 to"),
        ("redis://:secret@a/1/2", "a path of too many parts"),
        ("redis://:secret@a?db=x", "database is no number"),
        ("redis://:secret@a,b", "names 2 hosts, and this form takes one"),
        ("redis://:secret@a?retries=3", "the option 'retries' is unknown; there are db, ca_file"),
        ("redis://:secret@a?ca_file=/x", "PEM files are for TLS only; write rediss://"),
        ("rediss://:secret@a?cert_file=/x", "cert_file and key_file go together"),
        ("unix://", "path of the socket is missing"),
        ("redis+sentinel://:secret@a", "name of the service is missing"),
        ("redis+cluster://:secret@a/1", "a cluster has one database, 0"),
        ("redis+cluster://:secret@a,,b", "a host is missing"),
    ],
)
def test_what_is_wrong_is_named_with_its_cure_and_not_shown(url, why):
    with pytest.raises(InvalidURL, match=why) as refused:
        parse(url)

    assert "secret" not in str(refused.value)


def test_a_password_is_in_no_representation():
    shown = repr(parse("redis+sentinel://u:hidden@a/s?sentinel_password=hidden"))

    assert "hidden" not in shown


@given(st.text(max_size=60) | st.text(max_size=60).map("redis://".__add__))
def test_any_text_is_an_address_or_an_invalid_url(url):
    try:
        found = parse(url)
    except InvalidURL:
        return

    assert found.path or found.nodes
