"""The claim of mode PerTier, which keeps what was fetched.

A claim's spec is immutable but for its size, so what the live one has is taken over; that it
differs from what the tier asks for is said by `acceptance`.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_api.v1alpha1.quantity import amount
from tiergarten_operator import names
from tiergarten_operator.desired.stamp import child
from tiergarten_operator.facts import CLAIM, Facts, Fetch, Manifest, Ref
from tiergarten_operator.settings import Settings

GIB: Final = 1 << 30


def build(facts: Facts, fetch: Fetch, settings: Settings) -> Iterator[Manifest]:
    """Yield the claim, if the tier has one of its own."""
    tier = facts.tier
    if names.mounted_claim(tier) != names.claim(tier):
        return
    live = facts.live.get(Ref(CLAIM.name, names.claim(tier)))
    cache = tier.spec.cache
    spec: dict[str, Any] = {
        "accessModes": [cache.access_mode],
        "resources": {"requests": {"storage": _size(tier, fetch, settings)}},
    }
    if cache.storage_class_name is not None:
        spec["storageClassName"] = cache.storage_class_name
    if live is not None:
        spec = _as_it_is(spec, live["spec"])
    owned = cache.deletion_policy == "Delete"
    yield child(CLAIM, tier, names.claim(tier), owned=owned) | {"spec": spec}


def _size(tier: ModelTier, fetch: Fetch, settings: Settings) -> str:
    """Return the size to ask for: the tier's own, or the model's and a fifth, in whole GiB."""
    if tier.spec.cache.size is not None:
        return str(tier.spec.cache.size)
    if fetch.outcome is None or not fetch.outcome.size:
        return settings.claim_size
    return f"{-(-fetch.outcome.size * 6 // (5 * GIB))}Gi"


def _as_it_is(spec: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    """Return a claim's spec that the API server will take: the live one, grown if need be."""
    wanted = spec["resources"]["requests"]["storage"]
    there = live.get("resources", {}).get("requests", {}).get("storage", "0")
    kept = {"accessModes": live.get("accessModes", spec["accessModes"])}
    if "storageClassName" in live and "storageClassName" in spec:
        kept["storageClassName"] = live["storageClassName"]
    size = wanted if amount(wanted) > _amount(there) else there
    return kept | {"resources": {"requests": {"storage": size}}}


def _amount(text: str) -> Decimal:
    try:
        return amount(text)
    except ValueError:  # a notation that we do not write, such as 1e9: leave the claim as it is
        return Decimal("Infinity")
