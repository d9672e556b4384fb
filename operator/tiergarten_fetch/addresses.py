"""Where a fetch may connect to: names become addresses here, and are judged before the connection.

A `ModelTier` names URLs, so whoever may write one could point a fetch at the cloud's metadata
service or at a port of the node. Addresses are looked up once, judged, and connected to as they
were judged: a name that resolves anew at the connection (DNS rebinding) gains nothing.
"""

import asyncio
import enum
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from tiergarten_fetch.errors import Interrupted

METADATA = frozenset(map(ip_address, ("100.100.100.200", "192.0.0.192", "fd00:ec2::254")))
THIS_NETWORK = ip_network("0.0.0.0/8")
NAT64 = ip_network("64:ff9b::/96")


class Reach(enum.IntEnum):
    """How far inside an address lies; a redirect must not lead further in than it came from."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2
    FORBIDDEN = 3


def reach(address: str) -> Reach:
    """Return how far inside a numeric address lies: link-local and metadata are forbidden."""
    ip = _plain(ip_address(address.partition("%")[0]))
    if ip.is_loopback:
        return Reach.LOOPBACK
    if ip in METADATA or ip in THIS_NETWORK or ip.is_link_local or ip.is_unspecified:
        return Reach.FORBIDDEN
    if ip.is_multicast or ip.is_reserved:
        return Reach.FORBIDDEN
    return Reach.PUBLIC if ip.is_global else Reach.PRIVATE


def furthest(addresses: Iterable[str]) -> Reach:
    """Return how far inside the innermost of the addresses lies."""
    return max((reach(address) for address in addresses), default=Reach.FORBIDDEN)


async def resolve(host: str, port: int) -> tuple[str, ...]:
    """Return the host's addresses in the resolver's order of preference.

    Raises:
        Interrupted: If the name has no address now.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Interrupted(f"host {host}: cannot be resolved; check the name and the DNS") from error
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def _plain(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in NAT64:
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
