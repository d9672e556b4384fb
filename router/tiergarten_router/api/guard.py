"""What the parser lets pass and a router must not: heads that are too large, or mean two things.

Pure. httptools refuses most of what is malformed, but takes two `Host` headers, heads of any size,
and an `Upgrade` whose body it then drops. `protocol` asks here before anything is done.
"""

import re
from collections.abc import Mapping
from typing import Final

from tiergarten_router.errors import HeadTooLarge, InvalidRequest, RouterError

HEAD_BYTES: Final = 32 * 1024  # a browser's head has some 2,000
HEADERS_MAX: Final = 100
_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")  # RFC 3986: host and port
_BODY: Final = (b"content-length", b"transfer-encoding")

Headers = list[tuple[bytes, bytes]]


def refusal(
    headers: Headers, fields: Mapping[bytes, bytes], version: str, *, sockets: bool
) -> RouterError | None:
    """Return why a head is refused, or None.

    Args:
        headers: Its headers, names in lower case.
        fields: The same as a mapping.
        version: Its version of HTTP.
        sockets: Whether WebSockets are served.
    """
    if len(headers) > HEADERS_MAX:
        return HeadTooLarge(f"The request has more than {HEADERS_MAX} headers; send fewer.")
    host = fields.get(b"host")
    if host is None:
        if version != "1.0":
            return InvalidRequest("The request has no Host header; send one.")
    elif len(fields) < len(headers) and sum(name == b"host" for name, _ in headers) > 1:
        return InvalidRequest("The request has more than one Host header; send one.")
    elif not _HOST.fullmatch(host):
        return InvalidRequest("The Host header is no host; send the host's name and port.")
    return _of_upgrade(fields, sockets=sockets) if b"upgrade" in fields else None


def too_large(url: bytes, headers: Headers) -> RouterError | None:
    """Return the refusal of a head with too many bytes, or None."""
    size = len(url) + sum(len(name) + len(value) for name, value in headers)
    return head_too_large() if size > HEAD_BYTES else None


def head_too_large() -> RouterError:
    """Return the refusal of a head with too many bytes."""
    return HeadTooLarge(f"The request's head has more than {HEAD_BYTES} bytes; send less.")


def _of_upgrade(fields: Mapping[bytes, bytes], *, sockets: bool) -> RouterError | None:
    if fields[b"upgrade"].lower() != b"websocket" or not sockets:
        return InvalidRequest("The upgrade is not served; leave the Upgrade header out.")
    if any(name in fields for name in _BODY):
        return InvalidRequest("A WebSocket handshake has no body; leave it out.")
    return None
