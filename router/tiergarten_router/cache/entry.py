"""An answer as it is stored: authenticated, compressed when it is long, and of a known version.

    TGC1 | flags (1 byte) | HMAC-SHA256 over key, flags and payload (32 bytes) | payload

Pure. The payload is MessagePack, compressed with zlib if it has more than 4 KiB. The HMAC covers
the key too: what somebody stored under another key, changed or made up is no entry.
"""

import hmac
import zlib
from typing import Final

import msgspec
from msgspec import Struct

from tiergarten_router import wire

MAGIC: Final = b"TGC1"
PLAIN_MAX: Final = 4096  # payloads; longer ones are compressed
PAYLOAD_MAX: Final = 32 * 1024 * 1024  # inflated; more than any answer that the router takes
LEVEL: Final = 1  # JSON events shrink to a tenth at any level
_COMPRESSED: Final = 1
_MAC: Final = slice(len(MAGIC) + 1, len(MAGIC) + 33)


class Entry(Struct, frozen=True, array_like=True):
    """A whole answer.

    Attributes:
        events: The events of its stream, or the body alone when it is no stream.
        tier: The tier that gave it.
        model: That tier's model name.
        score: The score of its query.
        reasons: What the score came from.
        ttl_seconds: How long it may be used from the moment at which it was stored.
        usage: Its tokens, None when not told.
        timings: llama-server's measurements, None when not told.
    """

    events: list[bytes]
    tier: str
    model: str
    score: int
    reasons: tuple[str, ...]
    ttl_seconds: float
    usage: wire.Usage | None = None
    timings: wire.Timings | None = None

    @property
    def size(self) -> int:
        """Length of all events, in bytes."""
        return sum(map(len, self.events))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def seal(entry: Entry, key: bytes, secret: bytes) -> bytes:
    """Return an entry as it is stored.

    Args:
        entry: The entry.
        key: The key under which it is stored.
        secret: The secret of entries.
    """
    payload, flags = _encode(entry), 0
    if len(payload) > PLAIN_MAX:
        payload, flags = zlib.compress(payload, LEVEL), _COMPRESSED
    flag = bytes((flags,))
    return b"%b%b%b%b" % (MAGIC, flag, _mac(secret, key, flag, payload), payload)


def unseal(stored: bytes, key: bytes, secret: bytes) -> Entry | None:
    """Return the entry that was stored under a key, None if that is none of ours.

    Args:
        stored: What was found.
        key: The key under which it was found.
        secret: The secret of entries.
    """
    if len(stored) < _MAC.stop or not stored.startswith(MAGIC):
        return None
    flag, payload = stored[len(MAGIC) : len(MAGIC) + 1], stored[_MAC.stop :]
    if not hmac.compare_digest(stored[_MAC], _mac(secret, key, flag, payload)):
        return None
    try:
        return _decode(_inflated(payload) if flag[0] & _COMPRESSED else payload)
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError):
        return None  # of another version that kept its number


def _inflated(payload: bytes) -> bytes:
    return zlib.decompressobj().decompress(payload, PAYLOAD_MAX)


def _mac(secret: bytes, key: bytes, flag: bytes, payload: bytes) -> bytes:
    return hmac.digest(secret, b"".join((key, flag, payload)), "sha256")
