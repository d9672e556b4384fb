"""What is said of a tier, from the conditions that the operator wrote. Pure; called by `source`.

The words are those of local mode (`sources.status`): a tier that answers is Serving, and what
hinders it all the same stands in the message.
"""

from collections.abc import Iterable
from typing import Final

from tiergarten_api.v1alpha1 import Condition, ModelTier, ModelTierStatus, quantity
from tiergarten_router.core.snapshot import Endpoint, ReplicaState, TierStatus

UNSEEN: Final = "no operator has looked at it yet; see that tiergarten-operator runs"
_NOTHING: Final = ModelTierStatus.model_validate({})


def status(tier: ModelTier, endpoints: Iterable[Endpoint], notice: str = "") -> TierStatus:
    """Return what is said of a tier.

    Args:
        tier: The tier with its status.
        endpoints: Its replicas.
        notice: What else people should know of it.
    """
    known = tier.status or _NOTHING
    conditions = {condition.type: condition for condition in known.conditions or ()}
    reason, message = _reason(tier, conditions.get("Ready"), endpoints)
    fetched, total = _fetched(known, conditions.get("ModelAvailable"))
    return TierStatus(
        reason=reason,
        message="; ".join(filter(None, (message, notice))),
        fetched_bytes=fetched,
        total_bytes=total,
        memory_bytes=_memory(known),
        quantization=known.model.quantization if known.model else None,
    )


def _reason(
    tier: ModelTier, ready: Condition | None, endpoints: Iterable[Endpoint]
) -> tuple[str, str]:
    if tier.spec.suspend:
        return "Suspended", "spec.suspend is true; take it out to serve"
    hindered = ready is not None and ready.status != "True"
    if any(endpoint.state is ReplicaState.READY for endpoint in endpoints):
        return "Serving", ready.message if ready is not None and hindered else ""
    if ready is None:
        return "Unknown", UNSEEN
    if hindered:
        return ready.reason, ready.message
    return "Loading", "no replica is ready"  # the slices know it before the operator does


def _fetched(known: ModelTierStatus, available: Condition | None) -> tuple[int | None, int | None]:
    """Return how many bytes of the model are here, and of how many; None when all are."""
    files = known.model.files if known.model else None
    if not files or (available is not None and available.status == "True"):
        return None, None
    sizes = [file.size_bytes for file in files]
    total = sum(size for size in sizes if size is not None)
    fetched = sum(file.fetched_bytes or 0 for file in files)
    return fetched, None if None in sizes else total


def _memory(known: ModelTierStatus) -> int | None:
    """Return what a replica takes, None while the operator does not know it."""
    request = known.memory.request if known.memory else None
    try:
        return None if request is None else quantity.whole(request)
    except ValueError:
        return None
