"""What an answer is found by: who asked, what, and which models could have answered.

Pure. A key is an HMAC over all three, so that neither a key nor a list of keys tells what was
asked, and nobody without the secret can make one. All of the digest is used.
"""

import hmac
from typing import Final, TypeAlias

import msgspec

from tiergarten_router.core.query import Query
from tiergarten_router.core.routes import Route, RoutedTier

KEY_BYTES: Final = 32
_HASH: Final = "sha256"

Print: TypeAlias = bytes
"""The fingerprint of a route."""

_encode = msgspec.json.Encoder(order="deterministic").encode


class Keys:
    """Makes keys with one secret.

    Args:
        secret: Shared by all routers that share answers.

    Attributes:
        sealing: The secret by which entries are authenticated; says nothing of the keys.
    """

    def __init__(self, secret: bytes) -> None:
        self._finding = hmac.digest(secret, b"tiergarten cache key", _HASH)
        self.sealing = hmac.digest(secret, b"tiergarten cache entry", _HASH)

    def of(self, query: Query, route: Print, caller: bytes = b"") -> bytes:
        """Return the key of a query, 32 bytes.

        Two queries have the same one if one caller asks for the same with the same parameters on
        the same route with the same models. Whether a stream is wanted makes no difference.

        Args:
            query: The query.
            route: The fingerprint of its route.
            caller: Tells who asks: no two callers share an answer.
        """
        parts = (caller, query.path.encode(), route, query.payload(""))
        sizes = b"%d,%d,%d:" % tuple(map(len, parts[:-1]))  # so that no two joins are the same
        return hmac.digest(self._finding, sizes + b"".join(parts), _HASH)


def fingerprint(route: Route) -> Print:
    """Return what changes when another answer may come of a route: its generation or a model."""
    tiers = tuple(map(_tier, route.tiers))
    told = (route.model, route.name, route.origin, route.strategy, route.generation, tiers)
    return hmac.digest(b"route", _encode(told), _HASH)


def _tier(routed: RoutedTier) -> tuple[object, ...]:
    tier = routed.tier
    return (
        *(tier.name, tier.model, tier.digest, tier.slot_tokens),
        *(routed.max_difficulty, routed.weight, routed.max_prompt_tokens),
        sorted(routed.reserved_for),
    )
