"""Events about tiers, for `kubectl describe`: one a flip of a condition, not one a pass. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

from tiergarten_api.labels import API_VERSION, OPERATOR
from tiergarten_api.v1alpha1 import Condition, ModelTier
from tiergarten_operator import names
from tiergarten_operator.facts import Manifest

NOTE_LENGTH: Final = 1024
# Reasons that somebody must act on; the others are how things go.
WARNINGS: Final = frozenset(
    {
        *("SecretMissing", "ClaimMissing", "NameTaken", "NameConflict", "ChildRejected"),
        *("NotAllowed", "ImageVolumesUnsupported", "QuotaExceeded", "ChecksumMismatch"),
        *("NotFound", "Unauthorized", "NoSpace", "NotGGUF", "FetchFailed", "ClaimPending"),
        *("CacheLeft", "Unschedulable", "ImagePull", "CrashLoop", "OOMKilled", "DeadlineExceeded"),
    }
)
# No news of a tier that was never otherwise; two writes less for each new one.
EXPECTED: Final = frozenset({"Valid", "Verified"})
TOLD: Final = WARNINGS | {"Valid", "Fetching", "Verified", "Serving", "Suspended", "Paused"}


def of_tier(tier: ModelTier, flipped: Iterable[Condition], now: str) -> Iterator[Manifest]:
    """Yield an event for each flipped condition that is worth one.

    Args:
        tier: The tier.
        flipped: Conditions whose status or reason changed.
        now: The time, as RFC 3339.
    """
    is_new = tier.status is None or not tier.status.conditions
    told: set[str] = set(EXPECTED) if is_new else set()
    for condition in flipped:
        # Ready says again what the first that fails said.
        if condition.reason in TOLD and condition.reason not in told:
            told.add(condition.reason)
            yield _event(tier, condition, now)


def _event(tier: ModelTier, condition: Condition, now: str) -> Manifest:
    metadata = tier.metadata
    # The name says what it is about, so that a second posting of the same is refused.
    about = [metadata.uid, condition.reason, condition.last_transition_time, metadata.generation]
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata.name}.{names.digest(about)}",
            "namespace": metadata.namespace,
        },
        "eventTime": now.replace("Z", ".000000Z"),
        "reportingController": OPERATOR,
        "reportingInstance": OPERATOR,
        "action": "Reconcile",
        "reason": condition.reason,
        "note": condition.message[:NOTE_LENGTH],
        "type": "Warning" if condition.reason in WARNINGS else "Normal",
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": "ModelTier",
            "name": metadata.name,
            "namespace": metadata.namespace,
            "uid": metadata.uid,
        },
    }
