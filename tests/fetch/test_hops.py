"""Where a redirect may lead, and who sees a secret."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tiergarten_fetch import hops
from tiergarten_fetch.addresses import Reach
from tiergarten_fetch.errors import FetchFailed
from tiergarten_fetch.hops import Secret

CANARY = "canary"
SECRET = Secret.bearer(SecretStr(CANARY))
HTTPS = httpx.URL("https://hub.example/repo/file?signature=hidden")


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("Authorization: Bearer x", "Authorization", "Bearer x"),
        ("X-Api-Key:x\n", "X-Api-Key", "x"),
        ("Bearer x", "Authorization", "Bearer x"),
        ("Basic dXNlcjpwYXNz", "Authorization", "Basic dXNlcjpwYXNz"),
    ],
)
def test_a_secret_is_a_header_line_or_the_value_of_authorization(line: str, name: str, value: str):
    secret = Secret.header(SecretStr(line))

    assert (secret.name, secret.value.get_secret_value()) == (name, value)


@pytest.mark.parametrize("text", ["two\nlines", "tab\there", "nul\0", "é\x7f"])
def test_a_secret_with_control_characters_is_refused_without_being_shown(text: str):
    for make in (Secret.bearer, Secret.header):
        with pytest.raises(FetchFailed, match="control characters") as caught:
            make(SecretStr(text))
        assert text not in str(caught.value)


def test_a_secret_does_not_show_in_its_own_text():
    assert CANARY not in repr(SECRET)


@pytest.mark.parametrize(
    "at",
    [
        "http://hub.example/",
        "https://hub.example:444/",
        "https://cdn.hub.example/",
        "https://hub.example.evil/",
        "https://evil/hub.example",
    ],
)
def test_another_scheme_host_or_port_does_not_see_the_secret(at: str):
    sent = hops.headers_for(HTTPS, httpx.URL(at), SECRET, {"Range": "bytes=1-"})

    assert sent == {"Range": "bytes=1-"}


def test_the_same_origin_sees_the_secret_however_its_port_is_written():
    sent = hops.headers_for(HTTPS, httpx.URL("https://HUB.example:443/other"), SECRET, {})

    assert sent == {"Authorization": f"Bearer {CANARY}"}


@given(st.text())
def test_no_redirect_to_a_location_of_any_text_shows_the_secret_elsewhere(location: str):
    try:
        at = hops.follow(HTTPS, {"location": location})
    except FetchFailed:
        return

    sees = bool(hops.headers_for(HTTPS, at, SECRET, {}))
    assert sees == (at.scheme == "https" and at.host == "hub.example" and hops.port(at) == 443)


@pytest.mark.parametrize(
    ("location", "word"),
    [
        ("", "without saying where"),
        ("http://hub.example/file", "leads to http"),
        ("file:///etc/passwd", "write http"),
        ("gopher://hub.example/", "write http"),
        ("https://user:pass@hub.example/", "user and password"),
        ("https://hub.example:port/", "not a URL"),
    ],
)
def test_a_redirect_to_nowhere_or_to_another_protocol_is_refused(location: str, word: str):
    with pytest.raises(FetchFailed, match=word) as caught:
        hops.follow(HTTPS, {"location": location})

    assert "hidden" not in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_a_relative_redirect_stays_where_it_is():
    at = hops.follow(HTTPS, {"location": "../renamed/file"})

    assert str(at) == "https://hub.example/renamed/file"


@pytest.mark.parametrize("text", ["hub.example", "ftp://hub.example", "https://", "https://[::1"])
def test_a_field_that_is_no_http_url_is_named(text: str):
    with pytest.raises(FetchFailed, match=r"^model\.source\.http\.url: "):
        hops.parse(text, "model.source.http.url")


@pytest.mark.parametrize("reach", list(Reach))
@pytest.mark.parametrize("widest", list(Reach))
def test_an_address_further_in_than_allowed_is_refused(reach: Reach, widest: Reach):
    if reach <= widest and reach is not Reach.FORBIDDEN:
        hops.admit_reach(HTTPS, reach, widest)
        return

    with pytest.raises(FetchFailed, match=reach.name.lower()):
        hops.admit_reach(HTTPS, reach, widest)


def test_a_url_is_shown_without_what_may_be_secret():
    url = httpx.URL("https://user:pass@hub.example/file?signature=hidden#part")

    assert hops.shown(url) == "https://hub.example/file"
