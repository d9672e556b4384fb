"""The URL of a Redis as a value: parsed and checked once, never shown whole.

    redis://[user:password@]host[:port][/db]                    one server
    rediss://...                                                 the same over TLS
    unix://[user:password@]/path/to.sock[?db=1]                  a socket of this machine
    redis+sentinel://[...@]host:port,host:port/service[/db]      the master that Sentinels name
    redis+cluster://[...@]host:port,host:port                    a Redis Cluster

`rediss+sentinel://` and `rediss+cluster://` are the same over TLS.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
PORT_MAX: Final = 65_535
DB_MAX: Final = 1_000_000

Node = tuple[str, int]


class Kind(StrEnum):
    """How a Redis is reached."""

    SERVER = "redis"
    SOCKET = "unix"
    SENTINEL = "redis+sentinel"
    CLUSTER = "redis+cluster"


SCHEMES: Final[Mapping[str, tuple[Kind, bool]]] = {
    "redis": (Kind.SERVER, False),
    "rediss": (Kind.SERVER, True),
    "unix": (Kind.SOCKET, False),
    "redis+sentinel": (Kind.SENTINEL, False),
    "rediss+sentinel": (Kind.SENTINEL, True),
    "redis+cluster": (Kind.CLUSTER, False),
    "rediss+cluster": (Kind.CLUSTER, True),
}
OPTIONS: Final = ("db", "ca_file", "cert_file", "key_file", "sentinel_password")
FORMS: Final = (
    "redis://host:6379/0, rediss://host:6379/0, unix:///path/redis.sock, "
    "redis+sentinel://host:26379,host:26379/service, or redis+cluster://host:6379,host:6379"
)


class InvalidURL(ValueError):
    """The URL cannot be used; the message says why and what to write, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis is, and how to be let in.

    Attributes:
        kind: How it is reached.
        nodes: Host and port of servers, Sentinels or cluster nodes; none for a socket.
        path: The socket's path, empty for all others.
        service: The name that Sentinels have for the master, empty for all others.
        db: Number of the database.
        username: Empty for the default user.
        password: Empty for none.
        tls: Whether connections are encrypted, and certificates checked.
        files: Paths of PEM files by `ca_file`, `cert_file` and `key_file`; a missing one: default.
        sentinel_password: Password of the Sentinels themselves, empty for none.
    """

    kind: Kind
    nodes: tuple[Node, ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    sentinel_password: str = field(default="", repr=False)


def parse(url: str) -> Address:
    """Return the address that a URL means.

    Raises:
        InvalidURL: If it is none of the forms above.
    """
    try:
        parts = urlsplit(url)
        kind, tls = SCHEMES[parts.scheme]
    except (ValueError, KeyError):
        raise InvalidURL(f"it begins with none of the known schemes; write {FORMS}") from None
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    options = _options(parts)
    nodes = () if kind is Kind.SOCKET else _nodes(parts.scheme, hosts, kind)
    path, service, db = _path(parts, kind)
    found = Address(
        kind,
        nodes,
        path,
        service,
        _db(parts.scheme, options.get("db", db)),
        unquote(username),
        unquote(password),
        tls,
        {name: options[name] for name in OPTIONS if name.endswith("_file") and name in options},
        options.get("sentinel_password", ""),
    )
    _check(parts.scheme, found)
    return found


def _options(parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in OPTIONS:
            raise InvalidURL(
                f"{parts.scheme}://***: the option {name[:32]!r} is unknown; "
                f"there are {', '.join(OPTIONS)}"
            )
    return options


def _nodes(scheme: str, hosts: str, kind: Kind) -> tuple[Node, ...]:
    default = SENTINEL_PORT if kind is Kind.SENTINEL else REDIS_PORT
    nodes = tuple(_node(scheme, text, default) for text in hosts.split(","))
    if kind is Kind.SERVER and len(nodes) > 1:
        raise InvalidURL(
            f"{scheme}://***: it names {len(nodes)} hosts, and this form takes one; for more write "
            "redis+sentinel:// or redis+cluster://"
        )
    return nodes


def _node(scheme: str, text: str, default: int) -> Node:
    host, colon, port = text.rpartition(":")
    if text.endswith("]") or not colon:
        host, port = text, str(default)
    host = unquote(host.removeprefix("[").removesuffix("]"))
    if not host:
        raise InvalidURL(f"{scheme}://***: a host is missing; write {FORMS}")
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) <= PORT_MAX:
        raise InvalidURL(
            f"{scheme}://***: the port of a host is no number from 1 to {PORT_MAX}; write host:6379"
        )
    return host, int(port)


def _path(parts: SplitResult, kind: Kind) -> tuple[str, str, str]:
    """Return the socket's path, the service, and the database's number as text."""
    if kind is Kind.SOCKET:
        return unquote(parts.path), "", ""
    words = unquote(parts.path).strip("/").split("/")
    if len(words) > 1 + (kind is Kind.SENTINEL):
        raise InvalidURL(f"{parts.scheme}://***: a path of too many parts; write {FORMS}")
    if kind is Kind.SENTINEL:
        return "", words[0], words[1] if len(words) > 1 else ""
    return "", "", words[0]


def _db(scheme: str, text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or int(text) > DB_MAX:
        raise InvalidURL(
            f"{scheme}://***: the database is no number from 0 to {DB_MAX}; write …/0 or leave it"
        )
    return int(text)


def _check(scheme: str, found: Address) -> None:
    missing = {
        "the path of the socket is missing; write unix:///path/redis.sock": (
            found.kind is Kind.SOCKET and not found.path
        ),
        "the name of the service is missing; write redis+sentinel://host:26379/service": (
            found.kind is Kind.SENTINEL and not found.service
        ),
        "a cluster has one database, 0; leave the number away": (
            found.kind is Kind.CLUSTER and found.db > 0
        ),
        "PEM files are for TLS only; write rediss:// or leave them away": (
            bool(found.files) and not found.tls
        ),
        "cert_file and key_file go together; give both or neither": (
            ("cert_file" in found.files) != ("key_file" in found.files)
        ),
    }
    for why, holds in missing.items():
        if holds:
            raise InvalidURL(f"{scheme}://***: {why}")
