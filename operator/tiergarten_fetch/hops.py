"""Which URLs a fetch goes to, and which of them may see its secret. Pure.

Redirects are followed by hand (`web`), because whoever answers one chooses where it leads: a hub
sends downloads to a content network, which must never see the hub's token.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from pydantic import SecretStr

from tiergarten_fetch.addresses import Reach
from tiergarten_fetch.errors import FetchFailed

MOST_REDIRECTS = 5
HEADER = re.compile(r"([A-Za-z0-9-]+):\s*(.*)")
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Secret:
    """A header that only the origin of a fetch's first URL gets.

    Args:
        name: The header's name.
        value: Its value, without control characters.
    """

    name: str
    value: SecretStr

    def __post_init__(self) -> None:
        # Refused here without being shown: an HTTP library names the value in its error.
        if not self.value.get_secret_value().isprintable():
            raise FetchFailed(
                f"secret for header {self.name}: holds control characters; "
                "store it on one line, without a line end"
            )

    @classmethod
    def bearer(cls, token: SecretStr) -> "Secret":
        """Return the header for a hub's token."""
        return cls("Authorization", SecretStr(f"Bearer {token.get_secret_value().strip()}"))

    @classmethod
    def header(cls, line: SecretStr) -> "Secret":
        """Return the header of a line `Name: value`; a bare value is one of `Authorization`."""
        text = line.get_secret_value().strip()
        match = HEADER.fullmatch(text)
        name, value = match.groups() if match else ("Authorization", text)
        return cls(name, SecretStr(value))


def parse(text: str, field: str) -> httpx.URL:
    """Return the URL of a field.

    Raises:
        FetchFailed: If it is no http or https URL, or carries a user and password.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise FetchFailed(f"{field}: is not a URL; write http://… or https://…") from error
    _admit(url, field)
    return url


def follow(at: httpx.URL, headers: Mapping[str, str]) -> httpx.URL:
    """Return where a redirect leads.

    Args:
        at: The URL that answered with it.
        headers: The answer's headers.

    Raises:
        FetchFailed: If it leads nowhere, to another scheme, or from https to http.
    """
    location = headers.get("location")
    if not location:
        raise FetchFailed(f"{shown(at)}: redirects without saying where")
    try:
        url = at.join(location)
    except httpx.InvalidURL as error:
        raise FetchFailed(f"{shown(at)}: redirects to what is not a URL") from error
    _admit(url, f"redirect from {shown(at)}")
    if at.scheme == "https" and url.scheme == "http":
        raise FetchFailed(f"redirect from {shown(at)}: leads to http; only https may follow https")
    return url


def headers_for(
    first: httpx.URL, at: httpx.URL, secret: Secret | None, headers: Mapping[str, str]
) -> dict[str, str]:
    """Return the headers for a URL: the secret only where the fetch began."""
    if secret is None or not same_origin(first, at):
        return dict(headers)
    return {**headers, secret.name: secret.value.get_secret_value()}


def admit_reach(at: httpx.URL, reach: Reach, widest: Reach) -> None:
    """Refuse an address that lies further in than it may.

    Args:
        at: The URL whose host has the address.
        reach: How far in it lies.
        widest: How far in it may lie; for a redirect, where the fetch began.

    Raises:
        FetchFailed: If it lies further in.
    """
    if reach is Reach.FORBIDDEN or reach > widest:
        raise FetchFailed(
            f"{shown(at)}: host {at.host} has a {reach.name.lower()} address, which a fetch does "
            "not connect to from here; name a host that other machines reach"
        )


def same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    """Return whether scheme, host and port are the same."""
    return _origin(one) == _origin(other)


def port(url: httpx.URL) -> int:
    """Return the port, the scheme's own if none is written."""
    return url.port or PORTS[url.scheme]


def shown(url: httpx.URL) -> str:
    """Return the URL for messages, without a query: signed URLs carry their secret there."""
    return str(url.copy_with(query=None, fragment=None, userinfo=b""))


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, port(url)


def _admit(url: httpx.URL, where: str) -> None:
    if url.scheme not in PORTS or not url.host:
        raise FetchFailed(f"{where}: {url.scheme or 'no scheme'}: write http://… or https://…")
    if url.userinfo:
        raise FetchFailed(f"{where}: carries a user and password; put them into headerSecretRef")
