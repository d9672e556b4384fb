"""How far a tier's Deployment is."""

from collections.abc import Mapping
from typing import Any

from tiergarten_api import labels
from tiergarten_operator import names
from tiergarten_operator.facts import (
    AUTOSCALER,
    DEPLOYMENT,
    Facts,
    Manifest,
    Ref,
    Serving,
)
from tiergarten_operator.observed.pods import condition, states, trouble

LATE = "ProgressDeadlineExceeded"
UNMOUNTABLE = "CreateContainerError"  # older runtimes are handed a mount without a path


def serving(facts: Facts) -> Serving:
    """Return how far a tier's Deployment is; all zero if there is none."""
    name = facts.tier.metadata.name
    deployment = facts.live.get(Ref(DEPLOYMENT.name, name))
    pods = server_pods(facts)
    if deployment is None:
        return Serving(pods=len(pods), scaling=_scaling(facts))
    status: Mapping[str, Any] = deployment.get("status", {})
    wanted = deployment["spec"].get("replicas", 1)
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    counts = [status.get(it, 0) for it in ("replicas", "updatedReplicas", "availableReplicas")]
    progress = condition(deployment, "Progressing")
    return Serving(
        exists=True,
        replicas=counts[0],
        ready=status.get("readyReplicas", 0),
        updated=counts[1],
        minimum=_enough(deployment, wanted),
        settled=seen and all(count == wanted for count in counts),
        deadline=progress.get("message", LATE) if progress.get("reason") == LATE else "",
        quota=_quota(deployment),
        unmounted=_unmounted(facts, pods),
        scaling=_scaling(facts),
        trouble=trouble(pods),
        pods=len(pods),
        stopping=len(_all_server_pods(facts)) - len(pods),
        revision=deployment["metadata"].get("annotations", {}).get(labels.TEMPLATE_HASH, ""),
    )


def _enough(deployment: Manifest, wanted: int) -> bool:
    """Return whether as many pods answer as must.

    The Deployment says so only some seconds after, for it counts pods that stayed ready.
    """
    status: Mapping[str, Any] = deployment.get("status", {})
    steady = condition(deployment, "Available").get("status") == "True"
    all_answer = status.get("readyReplicas", 0) >= wanted > 0
    return bool((steady and status.get("availableReplicas", 0) > 0) or all_answer)


def server_pods(facts: Facts) -> tuple[Manifest, ...]:
    """Return a tier's server pods that are not on their way out."""
    found = _all_server_pods(facts)
    return tuple(pod for pod in found if "deletionTimestamp" not in pod["metadata"])


def _all_server_pods(facts: Facts) -> tuple[Manifest, ...]:
    wanted = names.selector(facts.tier).items()
    return tuple(pod for pod in facts.pods if wanted <= pod["metadata"].get("labels", {}).items())


def _quota(deployment: Manifest) -> str:
    failure = condition(deployment, "ReplicaFailure")
    message = str(failure.get("message", ""))
    return message if failure.get("status") == "True" and "exceeded quota" in message else ""


def _unmounted(facts: Facts, pods: tuple[Manifest, ...]) -> str:
    """Return what a node says that cannot mount the tier's image as a volume."""
    if facts.tier.spec.model.source.image is None:
        return ""
    waiting = [it.get("state", {}).get("waiting") or {} for pod in pods for it in states(pod)]
    said = [str(it.get("message", "")) for it in waiting if it.get("reason") == UNMOUNTABLE]
    return next((it for it in said if "mkdir" in it or "mount" in it), "")


def _scaling(facts: Facts) -> str:
    """Return why the autoscaler does nothing."""
    live = facts.live.get(Ref(AUTOSCALER.name, facts.tier.metadata.name))
    if live is None or facts.tier.spec.autoscaling is None:
        return ""
    active = condition(live, "ScalingActive")
    return str(active.get("message", "")) if active.get("status") == "False" else ""
