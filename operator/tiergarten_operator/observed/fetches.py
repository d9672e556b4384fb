"""Where a tier's model is: read from the Deployment that serves it, or from the Job that fetches.

The Deployment's annotation is the lasting record; the Job and its pods go after a day.
"""

from collections.abc import Iterator

from tiergarten_api import labels
from tiergarten_fetch import outcomes
from tiergarten_fetch.outcomes import Outcome
from tiergarten_fetch.results import Progress
from tiergarten_operator import names
from tiergarten_operator.facts import (
    CLAIM,
    DEPLOYMENT,
    JOB,
    VERIFIED,
    Facts,
    Fetch,
    Manifest,
    Ref,
)
from tiergarten_operator.observed import pods, servings

FETCHING = "Fetching"
REASONS = frozenset({"ChecksumMismatch", "NotFound", "Unauthorized", "NoSpace", "NotGGUF"})
CONTAINER = "fetch"
MB, GB = 10**6, 10**9


def fetch(facts: Facts) -> Fetch:
    """Return where a tier's model is."""
    match names.way(facts.tier):
        case names.Way.MOUNT:
            return _mounted(facts)
        case names.Way.PODS:
            return _by_pods(facts)
        case names.Way.JOB | names.Way.LOCATE:
            return _recorded(facts) or _by_job(facts)


def _mounted(facts: Facts) -> Fetch:
    what = "image" if facts.tier.spec.model.source.image is not None else "volume"
    return Fetch(VERIFIED, f"the files lie in the {what}; nothing is fetched")


def _by_pods(facts: Facts) -> Fetch:
    running = servings.server_pods(facts)
    told = [Fetch(it.reason, it.message, it) for it in _outcomes(running)]
    failed = [it for it in told if not it.verified]
    if any(it.verified for it in told) or any(map(pods.is_ready, running)):
        good = next((it for it in told if it.verified), None)
        return Fetch(VERIFIED, "each pod fetches the model", good.outcome if good else None)
    if failed:
        return _failed(failed[0].reason, failed[0].message)
    return Fetch(FETCHING, "each pod fetches the model when it starts")


def _recorded(facts: Facts) -> Fetch | None:
    """Return what a Deployment that serves the wanted model says of it."""
    live = facts.live.get(Ref(DEPLOYMENT.name, facts.tier.metadata.name))
    notes = live["metadata"].get("annotations", {}) if live else {}
    if notes.get(labels.MODEL_HASH) != names.model_hash(facts.tier):
        return None
    outcome = outcomes.read(notes.get(names.OUTCOME, ""))
    if names.way(facts.tier) is names.Way.LOCATE and not (outcome and outcome.files):
        return None  # what was found is not known any more: look again
    return _verified(outcome)


def _by_job(facts: Facts) -> Fetch:
    name = names.job(facts.tier)
    job = facts.live.get(Ref(JOB.name, name))
    if job is None:
        return Fetch(FETCHING, f"Job {name}: is about to start")
    own = tuple(_pods_of(job, facts.pods))
    told = list(_outcomes(own))
    if pods.condition(job, "Complete").get("status") == "True":
        return _complete(name, own, told)
    failure = pods.condition(job, "Failed")
    if failure.get("status") == "True":
        return _given_up(name, told, str(failure.get("message", "")))
    return _pending(facts, own) or _running(name, told, facts.progress)


def _complete(name: str, own: tuple[Manifest, ...], told: list[Outcome]) -> Fetch:
    good = next((it for it in told if it.reason == VERIFIED), None)
    if good is None and any(not _has_ended(pod) for pod in own):
        # The Job's event came before its pod's; without the outcome memory would be guessed.
        return Fetch(FETCHING, f"Job {name}: is done; waiting for what it says of the model")
    return _verified(good)


def _given_up(name: str, told: list[Outcome], message: str) -> Fetch:
    said = next((it for it in reversed(told) if it.reason != VERIFIED), None)
    cure = f"then change spec.model, or set the annotation {labels.REFETCH} to a new value"
    if said is None:
        return _failed("FetchFailed", f"Job {name}: {message}; {cure}")
    return _failed(said.reason, f"{said.message}; {cure}")


def _pending(facts: Facts, own: tuple[Manifest, ...]) -> Fetch | None:
    """Return that the Job waits for its claim, or for a node, if it does."""
    claim = facts.live.get(Ref(CLAIM.name, names.claim(facts.tier)))
    bound = claim is None or claim.get("status", {}).get("phase") != "Pending"
    ailing = pods.trouble(pod for pod in own if not _has_ended(pod))
    if ailing is None or ailing.reason == "Loading":
        return None
    if ailing.reason == "Unschedulable" and not bound:
        what = f"claim {names.claim(facts.tier)}: is not bound: {ailing.message}"
        return Fetch("ClaimPending", f"{what}; set cache.storageClassName to a class that is there")
    return Fetch(FETCHING, f"waits: {ailing.message}")


def _running(name: str, told: list[Outcome], progress: tuple[Progress, ...]) -> Fetch:
    """Return how far a Job is; what ailed its last try stays until bytes come."""
    if progress:
        return Fetch(FETCHING, f"Job {name}: fetches the model: {_bytes(progress)}", None, progress)
    failed = [it for it in told if it.reason != VERIFIED]
    if not failed:
        return Fetch(FETCHING, f"Job {name}: fetches the model")
    last = failed[-1]
    if last.reason in REASONS:  # more than a cut connection: somebody may have to act
        return Fetch(last.reason, f"{last.message}; Job {name} tries again")
    return Fetch(FETCHING, f"Job {name}: tries again after {last.reason}: {last.message}")


def _bytes(progress: tuple[Progress, ...]) -> str:
    here = sum(it.fetched_bytes for it in progress)
    sizes = [it.total_bytes for it in progress]
    known = [it for it in sizes if it is not None]
    notes = [it.note for it in progress if it.note]
    size = f"{_shown(here)} of {_shown(sum(known))}" if len(known) == len(sizes) else _shown(here)
    return f"{size}; tries again: {notes[0]}" if notes else size


def _shown(count: int) -> str:
    """Return bytes for people."""
    return f"{count / GB:.1f} GB" if count >= GB else f"{count / MB:.1f} MB"


def ended(job: Manifest | None) -> str:
    """Return how a Job ended: Complete or Failed; empty while it has not, or is not there."""
    kinds = ("Complete", "Failed") if job is not None else ()
    return next((it for it in kinds if pods.condition(job or {}, it).get("status") == "True"), "")


def asks(facts: Facts) -> str | None:
    """Return the address of the pod that fetches a tier's model now, if one does."""
    job = facts.live.get(Ref(JOB.name, names.job(facts.tier)))
    if job is None or names.way(facts.tier) is not names.Way.JOB:
        return None
    states = [it.get("status", {}) for it in _pods_of(job, facts.pods)]
    running = [it["podIP"] for it in states if it.get("phase") == "Running" and it.get("podIP")]
    return str(running[-1]) if running else None


def _verified(outcome: Outcome | None) -> Fetch:
    if outcome is None:
        return Fetch(VERIFIED, "the model is there; its fetch left no details")
    size = f"{outcome.file_count} files, {outcome.size} bytes"
    return Fetch(VERIFIED, f"the model is there and checked: {size}", outcome)


def _failed(reason: str, message: str) -> Fetch:
    return Fetch(reason if reason in REASONS else "FetchFailed", message)


def _pods_of(job: Manifest, found: tuple[Manifest, ...]) -> Iterator[Manifest]:
    """Yield the pods of a Job, oldest first."""
    uid = job["metadata"].get("uid")
    own = [
        pod
        for pod in found
        if any(it["uid"] == uid for it in pod["metadata"].get("ownerReferences") or ())
    ]
    return iter(sorted(own, key=lambda pod: str(pod["metadata"].get("creationTimestamp", ""))))


def _outcomes(found: tuple[Manifest, ...]) -> Iterator[Outcome]:
    """Yield what the fetch containers of some pods told."""
    for pod in found:
        for container in pods.states(pod):
            told = outcomes.read(str(pods.ended(container).get("message", "")))
            if container.get("name") == CONTAINER and told is not None:
                yield told


def _has_ended(pod: Manifest) -> bool:
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}
