"""Connections to the Redis of an address: opened, let in, and answering.

For Sentinels this asks them for the master first, each time anew, and believes it only when the
server says itself that it is one.
"""

import asyncio
from typing import Any, Final

from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tiergarten_router.store.address import Address, Kind, Node
from tiergarten_router.store.failures import StoreError, Unavailable
from tiergarten_router.store.lane import Link, ask, disconnect

OPEN_SECONDS: Final = 1.0  # for a server to let us in; no query ever waits for it
SENTINEL_SECONDS: Final = 0.5  # for one Sentinel's answer


async def connect(address: Address) -> Link:
    """Return a connection to the server, socket or master of an address that answers.

    Raises:
        Unavailable: If there is none within the bounds.
    """
    if address.kind is Kind.SOCKET:
        return await _opened(UnixDomainSocketConnection(path=address.path, **_options(address)))
    if address.kind is Kind.SENTINEL:
        return await _master(address)
    return await _opened(_connection(address, address.nodes[0], _options(address)))


def tls(address: Address) -> dict[str, Any]:
    """Return redis-py's TLS options of an address, none without TLS."""
    if not address.tls:
        return {}
    files = {f"ssl_{name.replace('_file', 'file')}": path for name, path in address.files.items()}
    if "ssl_cafile" in files:
        files["ssl_ca_certs"] = files.pop("ssl_cafile")
    return {"ssl_cert_reqs": "required", "ssl_check_hostname": True, **files}


def _options(address: Address) -> dict[str, Any]:
    return {
        "db": address.db,
        "username": address.username or None,
        "password": address.password or None,
        "socket_timeout": None,  # bounded by who waits
        "socket_connect_timeout": OPEN_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


def _connection(address: Address, node: Node, options: dict[str, Any]) -> Connection:
    kind = SSLConnection if address.tls else Connection
    host, port = node
    return kind(host=host, port=port, socket_keepalive=True, **options, **tls(address))


async def _opened(link: Link, seconds: float = OPEN_SECONDS) -> Link:
    """Return a connection once it is open and the server answers on it."""
    pong = None
    try:
        async with asyncio.timeout(seconds):
            await link.connect()  # type: ignore[no-untyped-call]  # redis-py left it untyped
            pong = await ask(link, "PING")
    except (TimeoutError, RedisError, OSError) as error:
        raise _translated(error) from error
    finally:
        if pong != b"PONG":
            await disconnect(link)
    if pong != b"PONG":
        raise Unavailable("what answers is no Redis")
    return link


async def _master(address: Address) -> Link:
    failure = Unavailable("no Sentinel answers")
    for sentinel in address.nodes:
        try:
            node = await _named(address, sentinel)
            link = await _opened(_connection(address, node, _options(address)))
        except StoreError as error:
            failure = Unavailable(f"Sentinel: {error}")
            continue
        if await _is_master(link):
            return link
        failure = Unavailable("the master that Sentinel names is none")
    raise failure


async def _named(address: Address, sentinel: Node) -> Node:
    """Return the master that a Sentinel names."""
    login = {"db": 0, "username": None, "password": address.sentinel_password or None}
    options = {**_options(address), **login, "socket_connect_timeout": SENTINEL_SECONDS}
    link = await _opened(_connection(address, sentinel, options), SENTINEL_SECONDS)
    try:
        async with asyncio.timeout(SENTINEL_SECONDS):
            named = await ask(link, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service)
    except (TimeoutError, RedisError, OSError) as error:
        raise _translated(error) from error
    finally:
        await disconnect(link)
    if not isinstance(named, list):
        raise Unavailable("no Sentinel knows the service")
    host, port = named
    return host.decode(), int(port)


async def _is_master(link: Link) -> bool:
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            role = await ask(link, "ROLE")
    except (TimeoutError, RedisError, OSError, StoreError):
        role = None
    if isinstance(role, list) and role[:1] == [b"master"]:
        return True
    await disconnect(link)
    return False


def _translated(error: Exception) -> Unavailable:
    if isinstance(error, TimeoutError):
        return Unavailable("Redis did not answer in time")
    return Unavailable(f"Redis cannot be reached: {type(error).__name__}")
