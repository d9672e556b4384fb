"""What the parser lets pass and a router must not: heads that are too large, or mean two things.

Pure. httptools refuses most of what is malformed, but takes two `Host` headers, heads of any size,
and an `Upgrade` whose body it then drops. `protocol` asks here before anything is done.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tiergarten_router.errors import BodyTooLarge, HeadTooLarge, InvalidRequest, RouterError

HEAD_BYTES: Final = 32 * 1024  # a browser's head has some 2,000
HEADERS_MAX: Final = 100
FRAMES: Final = 2  # most bytes of a body on the wire for one of content, trailers included
_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")  # RFC 3986: host and port
_BODY: Final = (b"content-length", b"transfer-encoding")

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Guard:
    """The bounds of a request.

    Attributes:
        body_bytes: Largest body.
        sockets: Whether WebSockets are served.
    """

    body_bytes: int
    sockets: bool

    def head(
        self,
        headers: Headers,
        fields: Mapping[bytes, bytes],
        *,
        optional_host: bool,
        leaves: bool,
    ) -> RouterError | None:
        """Return why a whole head is refused, or None; for its size see `arrived`.

        Args:
            headers: Its headers, names in lower case.
            fields: The same as a mapping.
            optional_host: Whether it may lack a host, as before HTTP/1.1.
            leaves: Whether it wants the connection for another protocol.
        """
        if len(headers) > HEADERS_MAX:
            return HeadTooLarge(f"The request has more than {HEADERS_MAX} headers; send fewer.")
        host = fields.get(b"host", b"" if optional_host else b"?")
        alone = len(fields) == len(headers) or sum([name == b"host" for name, _ in headers]) < 2  # noqa: PLR2004 -- more than one
        if not alone or not _HOST.fullmatch(host):
            return InvalidRequest("The request has no Host header, or no good one; send just one.")
        if leaves or b"upgrade" in fields:
            return self._of_upgrade(fields)
        declared = fields.get(b"content-length", b"")
        return self.body(int(declared)) if declared.isdigit() else None

    def body(self, size: int) -> RouterError | None:
        """Return why so many bytes of a body are refused, or None."""
        if size <= self.body_bytes:
            return None
        return BodyTooLarge(
            f"The body is larger than {self.body_bytes} bytes; send less, or raise body_bytes."
        )

    def arrived(self, size: int, *, heading: bool) -> RouterError | None:
        """Return why a request is refused of which so many bytes came and no end, or None.

        Args:
            size: Bytes since its beginning.
            heading: Whether its head has not ended yet.
        """
        if heading:
            return _head_too_large() if size > HEAD_BYTES else None
        return self.body(-(-(size - HEAD_BYTES) // FRAMES))

    def _of_upgrade(self, fields: Mapping[bytes, bytes]) -> RouterError | None:
        if fields.get(b"upgrade", b"").lower() != b"websocket" or not self.sockets:
            return InvalidRequest("The upgrade is not served; leave the Upgrade header out.")
        if any(name in fields for name in _BODY):
            return InvalidRequest("A WebSocket handshake has no body; leave it out.")
        return None


def size(url: bytes, headers: Headers) -> int:
    """Return how many bytes a head has, about."""
    return len(url) + sum([len(name) + len(value) for name, value in headers])


def _head_too_large() -> RouterError:
    return HeadTooLarge(f"The request's head has more than {HEAD_BYTES} bytes; send less.")
