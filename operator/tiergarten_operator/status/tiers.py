"""The status of a tier."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tiergarten_api import labels, memory
from tiergarten_api.v1alpha1 import (
    CacheStatus,
    EndpointStatus,
    FileStatus,
    MemoryStatus,
    ModelStatus,
    ModelTier,
    ModelTierStatus,
)
from tiergarten_fetch import layout
from tiergarten_fetch.outcomes import Outcome
from tiergarten_operator import names
from tiergarten_operator.facts import Fetch, Finding, Serving
from tiergarten_operator.status.conditions import Verdict, timed


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a reconcile found out.

    Attributes:
        tier: The tier that it was about.
        refusal: Why the tier cannot be served, or None.
        fetch: Where its model is.
        serving: How far its Deployment is.
        wanted: Replicas that it must have; None if its autoscaler decides.
        paused: Whether the tier's user stopped all writes.
        memory_request: The memory request of a pod, as a quantity; empty if it is not known.
    """

    tier: ModelTier
    refusal: Finding | None
    fetch: Fetch
    serving: Serving = field(default_factory=Serving)
    wanted: int | None = 1
    paused: bool = False
    memory_request: str = ""


def of_tier(seen: Seen, now: str) -> ModelTierStatus:
    """Return the status of a tier.

    Args:
        seen: What a reconcile found out. Its tier holds the status before, from which the times
            of conditions are taken.
        now: The time, as RFC 3339.
    """
    tier, serving = seen.tier, seen.serving
    before = tier.status.conditions if tier.status and tier.status.conditions else ()
    generation = tier.metadata.generation
    return ModelTierStatus(
        observed_generation=generation,
        replicas=serving.replicas,
        ready_replicas=serving.ready,
        updated_replicas=serving.updated,
        selector=names.selector_text(names.selector(tier)),
        revision=serving.revision or None,
        model=_model(tier, seen.fetch.outcome) or _coming(seen.fetch),
        cache=_cache(tier),
        memory=_memory(seen),
        endpoint=_endpoint(tier),
        conditions=timed(_verdicts(seen), before, generation, now),
    )


def _verdicts(seen: Seen) -> Sequence[Verdict]:
    accepted = _accepted(seen)
    model = Verdict("ModelAvailable", seen.fetch.verified, seen.fetch.reason, seen.fetch.message)
    available = _available(seen)
    progressing = _progressing(seen)
    return accepted, model, available, progressing, _ready(accepted, model, available, progressing)


def _accepted(seen: Seen) -> Verdict:
    if seen.refusal is not None:
        return Verdict(
            "Accepted", holds=False, reason=seen.refusal.reason, message=seen.refusal.message
        )
    if seen.serving.quota:
        message = f"{seen.serving.quota}; raise the quota, or lower the tier's resources"
        return Verdict("Accepted", holds=False, reason="QuotaExceeded", message=message)
    if seen.serving.unmounted:
        said = "spec.model.source.image: the node's container runtime cannot mount images"
        cure = "use containerd 2.1 or newer, or another source"
        message = f"{said} ({seen.serving.unmounted}); {cure}"
        reason = "ImageVolumesUnsupported"
        return Verdict("Accepted", holds=False, reason=reason, message=message)
    return Verdict("Accepted", holds=True, reason="Valid", message="the tier can be served")


def _available(seen: Seen) -> Verdict:
    serving = seen.serving
    if serving.minimum and seen.wanted != 0:
        message = f"{serving.ready} of {serving.replicas} replicas answer"
        return Verdict("Available", holds=True, reason="MinimumReplicas", message=message)
    why = _unavailable(seen)
    return Verdict("Available", holds=False, reason=why.reason, message=why.message)


def _unavailable(seen: Seen) -> Finding:
    name, serving = seen.tier.metadata.name, seen.serving
    if seen.tier.spec.suspend:
        return Finding("Suspended", "spec.suspend is true; the cache is kept")
    if seen.wanted == 0:
        return Finding("NoReplicas", "spec.replicas is 0")
    if serving.trouble is not None:
        return serving.trouble
    if serving.pods:
        return Finding("Loading", f"{serving.pods} replicas load the model")
    early = "there are no replicas before the model is available"
    late = f"Deployment {name}: has made no pod yet"
    if serving.stopping:
        late = f"{serving.stopping} replicas of before finish their answers; then new ones start"
    return Finding("NoReplicas", late if serving.exists else early)


def _progressing(seen: Seen) -> Verdict:
    serving = seen.serving
    if seen.paused:
        message = f"the annotation {labels.PAUSED} stops all writes; remove it to go on"
        return Verdict("Progressing", holds=False, reason="Paused", message=message)
    if serving.deadline:
        return Verdict(
            "Progressing",
            holds=False,
            reason="DeadlineExceeded",
            message=f"{serving.deadline} see Available, or raise rollout.startupTimeoutSeconds",
        )
    tail = f"; the autoscaler does nothing: {serving.scaling}" if serving.scaling else ""
    settled = serving.settled and seen.fetch.verified
    if settled:
        message = f"all {serving.replicas} replicas are as they must be{tail}"
        return Verdict("Progressing", holds=True, reason="Settled", message=message)
    message = f"{serving.updated} of {serving.replicas} replicas are up to date{tail}"
    return Verdict("Progressing", holds=True, reason="RollingOut", message=message)


def _ready(*verdicts: Verdict) -> Verdict:
    """Return the summary: the first that fails. A pause fails nobody who is being served."""
    available = next(it for it in verdicts if it.type == "Available")
    if available.reason == "Suspended":
        return Verdict("Ready", holds=False, reason="Suspended", message=available.message)
    for it in verdicts:
        if not it.holds and it.reason != "Paused":
            return Verdict("Ready", holds=False, reason=it.reason, message=it.message)
    return Verdict("Ready", holds=True, reason="Serving", message=available.message)


def _model(tier: ModelTier, outcome: Outcome | None) -> ModelStatus | None:
    if outcome is None:
        return None
    header = outcome.header
    files = tuple(
        FileStatus(name=it.name, sha256=it.sha256, size_bytes=it.size, fetched_bytes=it.size)
        for it in outcome.files
    )
    return ModelStatus(
        resolved_revision=outcome.revision if tier.spec.model.source.hugging_face else None,
        architecture=header.architecture if header else None,
        quantization=header.quantization if header else None,
        size_bytes=outcome.size,
        parameters=header.parameters if header else None,
        trained_context_length=header.context_length if header else None,
        files=files or None,
    )


def _coming(fetch: Fetch) -> ModelStatus | None:
    """Return how far the files are while they come."""
    files = tuple(
        FileStatus(name=it.file, size_bytes=it.total_bytes, fetched_bytes=it.fetched_bytes)
        for it in fetch.progress
    )
    return ModelStatus(files=files) if files else None


def _cache(tier: ModelTier) -> CacheStatus | None:
    claim = names.mounted_claim(tier)
    if names.way(tier) is not names.Way.JOB:
        return None
    return CacheStatus(claim_name=claim, path=f"models/{layout.key(tier.spec.model)}")


def _memory(seen: Seen) -> MemoryStatus | None:
    outcome = seen.fetch.outcome
    if outcome is None or outcome.header is None:
        return MemoryStatus(request=seen.memory_request) if seen.memory_request else None
    needed = memory.estimate(outcome.header, seen.tier.spec)
    return MemoryStatus(
        weights_bytes=needed.weights_bytes,
        kv_cache_bytes=needed.kv_cache_bytes,
        compute_bytes=needed.compute_bytes,
        request=seen.memory_request or None,
    )


def _endpoint(tier: ModelTier) -> EndpointStatus:
    name, namespace = tier.metadata.name, tier.metadata.namespace
    url = f"http://{name}.{namespace}.svc:{labels.PORT}/v1"
    return EndpointStatus(service=name, port=labels.PORT, url=url)
