"""Who may subscribe to events, and what they ask for; one set of rules for WebSocket and SSE."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from pydantic import SecretStr

from tiergarten_router.api import replies
from tiergarten_router.api.client import Scope
from tiergarten_router.errors import ForeignOrigin, InvalidRequest, Unauthorized
from tiergarten_router.events.hub import Start
from tiergarten_router.events.log import WINDOW_EVENTS, Position
from tiergarten_router.events.subscribers import Filter
from tiergarten_router.settings import Settings

PROTOCOL: Final = "tiergarten.events"
TOKEN_PROTOCOL: Final = "tiergarten.token."  # noqa: S105 -- what stands before a token
PARAMS: Final = ("kind", "tier", "query", "epoch", "since", "latest")
SECRETS: Final = ("token", "access_token", "api_key", "apikey", "key", "authorization")
FIELDS_MAX: Final = 64
LOCAL: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})  # names that no DNS server can rebind
_EPOCH: Final = re.compile(r"[0-9a-f]{1,64}")
_PORT: Final = re.compile(r":[0-9]+$")
_DIGITS: Final = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a subscriber asks for."""

    wanted: Filter
    start: Start


class Access:
    """Decides who may subscribe.

    Args:
        settings: Token and origins.
    """

    def __init__(self, settings: Settings) -> None:
        listed = (origin.strip() for origin in settings.events_origins.split(","))
        self._origins = frozenset(origin.rstrip("/").lower() for origin in listed if origin)
        self._token: SecretStr | None = settings.events_token

    @property
    def open(self) -> bool:
        """Whether no token is wanted."""
        return self._token is None

    def check_origin(self, scope: Scope) -> None:
        """Refuse web pages that are not listed; programs send no origin.

        Raises:
            ForeignOrigin: If the request comes from such a page.
        """
        header = replies.header(scope, b"origin")
        if header is None:
            return
        origin = header.decode("latin-1").lower()
        if origin not in self._origins and not _own(origin, scope):
            raise ForeignOrigin("This page's origin may not read events; see events_origins.")

    def admits(self, token: str) -> bool:
        """Return whether a token is the right one, in a time that does not depend on it."""
        wanted = self._token.get_secret_value() if self._token is not None else token
        return hmac.compare_digest(token.encode(), wanted.encode())

    def presented(self, scope: Scope) -> bool:
        """Return whether the handshake alone admits: by subprotocol or `Authorization`.

        Raises:
            Unauthorized: If it presents a token that is wrong.
        """
        if self.open:
            return True
        given = _token(scope)
        if given is None:
            return False
        if not self.admits(given):
            raise wrong_token()
        return True


def wrong_token() -> Unauthorized:
    """Return the error for a token that is missing or wrong."""
    return Unauthorized(
        "Events want a token here: as a subprotocol tiergarten.token.TOKEN, as the first message "
        '{"token": "…"}, or as Authorization: Bearer.'
    )


def asked(scope: Scope) -> Asked:
    """Return what the query string asks for.

    Raises:
        InvalidRequest: If a parameter is unknown or has no meaning.
        Unauthorized: If it holds a token: query strings are logged everywhere.
    """
    try:
        text = scope["query_string"].decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError:
        raise InvalidRequest(f"The query string has over {FIELDS_MAX} parts.") from None
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        if name.lower() in SECRETS:
            raise Unauthorized("A token never belongs into a URL: it is logged there.")
        if name not in PARAMS:
            shown = ", ".join(PARAMS)
            raise InvalidRequest(f"{name[:64]!r} is unknown; there are {shown}.", param=name[:64])
        found.setdefault(name, []).append(value)
    wanted = _filter(found)
    return Asked(wanted, _start(found))


def resumed(asks: Asked, header: bytes | None) -> Asked:
    """Return what an SSE client asks for that comes back with `Last-Event-ID: EPOCH:SEQ`.

    Raises:
        InvalidRequest: If the header is none of ours.
    """
    if not header:
        return asks
    epoch, _, seq = header.decode("latin-1").partition(":")
    if not _EPOCH.fullmatch(epoch) or not _DIGITS.fullmatch(seq):
        raise InvalidRequest("Last-Event-ID is EPOCH:SEQ, as the stream's id lines had it.")
    return Asked(asks.wanted, Start(Position(epoch, int(seq))))


def _filter(found: Mapping[str, list[str]]) -> Filter:
    kinds = tuple(
        sorted({kind for value in found.get("kind", ()) for kind in value.split(",") if kind})
    )
    wanted = Filter(kinds, _one(found, "tier"), _one(found, "query"))
    problem = wanted.problem()
    if problem:
        raise InvalidRequest(problem, param=problem.partition(" ")[0].partition("=")[0])
    return wanted


def _start(found: Mapping[str, list[str]]) -> Start:
    epoch, since, latest = (_one(found, name) for name in ("epoch", "since", "latest"))
    if latest and (epoch or since):
        raise InvalidRequest("latest goes without epoch and since.", param="latest")
    if bool(epoch) != bool(since):
        raise InvalidRequest("epoch and since go together: the last place seen.", param="since")
    if latest:
        return Start(latest=min(_number(latest, "latest"), WINDOW_EVENTS))
    if not epoch:
        return Start()
    if not _EPOCH.fullmatch(epoch):
        raise InvalidRequest("epoch is what the stream's events say.", param="epoch")
    return Start(Position(epoch, _number(since, "since")))


def _number(text: str, name: str) -> int:
    if not _DIGITS.fullmatch(text):
        raise InvalidRequest(f"{name} is a whole number, 0 or more.", param=name)
    return int(text)


def _one(found: Mapping[str, list[str]], name: str) -> str:
    values = found.get(name, [""])
    if len(values) > 1:
        raise InvalidRequest(f"{name} is given {len(values)} times; give it once.", param=name)
    return values[0]


def _token(scope: Scope) -> str | None:
    for protocol in scope.get("subprotocols", ()):
        if protocol.startswith(TOKEN_PROTOCOL):
            return str(protocol).removeprefix(TOKEN_PROTOCOL)
    header = replies.header(scope, b"authorization")
    if header is not None and header[:7].lower() == b"bearer ":
        return header[7:].decode("latin-1").strip()
    return None


def _own(origin: str, scope: Scope) -> bool:
    """Return whether a page is the router's own, reached by a name that means this machine."""
    host = (replies.header(scope, b"host") or b"").decode("latin-1").lower()
    scheme, _, netloc = origin.partition("://")
    name = netloc.rpartition(":")[0] if _PORT.search(netloc) else netloc
    return scheme in {"http", "https"} and netloc == host and name in LOCAL
