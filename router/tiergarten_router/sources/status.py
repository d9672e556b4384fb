"""What is said of a tier, from what is known of it: the operator's reasons, for processes. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tiergarten_api.v1alpha1 import ModelTierSpec
from tiergarten_router.core.snapshot import Endpoint, ReplicaState, TierStatus

_MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a tier cannot run as its user wants.

    Attributes:
        reason: One word of the operator's conditions.
        message: What is wrong and the cure.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Coming:
    """How far a model is.

    Attributes:
        fetched_bytes: What is here.
        total_bytes: Of how much, None while that is unknown.
        note: What hinders it, for people.
    """

    fetched_bytes: int = 0
    total_bytes: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that is known of a tier.

    Attributes:
        spec: What its user wants.
        endpoints: Its replicas.
        trouble: Why it cannot run as wanted, or None.
        coming: How far its model is, None when it is there.
        notice: What people should know of all tiers, such as an edit that was refused.
        memory_bytes: Estimate for one replica, None while unknown.
        quantization: As in the model's header, None while unknown.
    """

    spec: ModelTierSpec
    endpoints: Sequence[Endpoint] = ()
    trouble: Trouble | None = None
    coming: Coming | None = None
    notice: str = ""
    memory_bytes: int | None = None
    quantization: str | None = None


def replicas(spec: ModelTierSpec) -> int:
    """Return how many replicas a tier has here: nothing scales by itself without a cluster."""
    if spec.suspend:
        return 0
    return spec.autoscaling.min_replicas if spec.autoscaling else spec.replicas


def status(known: Situation) -> TierStatus:
    """Return what is said of a tier."""
    reason, message = _reason(known)
    notes = [message]
    if known.spec.autoscaling:
        count = replicas(known.spec)
        notes.append(f"runs {count} replicas (autoscaling.minReplicas): only a cluster scales")
    notes.append(known.notice)
    coming = known.coming
    return TierStatus(
        reason=reason,
        message="; ".join(filter(None, notes)),
        fetched_bytes=coming.fetched_bytes if coming else None,
        total_bytes=coming.total_bytes if coming else None,
        memory_bytes=known.memory_bytes,
        quantization=known.quantization,
    )


def _reason(known: Situation) -> tuple[str, str]:
    if known.spec.suspend:
        return "Suspended", "spec.suspend is true; take it out to serve"
    if any(endpoint.state is ReplicaState.READY for endpoint in known.endpoints):
        return "Serving", known.trouble.message if known.trouble else ""
    if known.trouble:
        return known.trouble.reason, known.trouble.message
    if not replicas(known.spec):
        return "NoReplicas", "spec.replicas is 0; raise it to serve"
    return _beginning(known)


def _beginning(known: Situation) -> tuple[str, str]:
    if known.coming:
        return "Fetching", _fetching(known.coming)
    failed = [endpoint for endpoint in known.endpoints if endpoint.state is ReplicaState.FAILED]
    if failed:
        return "CrashLoop", failed[0].message
    return "Loading", "the model is being loaded"


def _fetching(coming: Coming) -> str:
    here = f"{coming.fetched_bytes / _MEBIBYTE:,.0f}"
    whole = "" if coming.total_bytes is None else f" of {coming.total_bytes / _MEBIBYTE:,.0f}"
    return f"{here}{whole} MiB are here" + (f" ({coming.note})" if coming.note else "")
