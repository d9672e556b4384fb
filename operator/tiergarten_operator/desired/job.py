"""The Job that fetches a tier's model into its claim, or finds the one that lies in a volume.

It is made once for each hash of source, files and refetch value, and never changed: a Job's
template is immutable.
"""

from collections.abc import Iterator
from typing import Any, Final

from tiergarten_api import labels
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_fetch.errors import ChecksumMismatch, NotFound
from tiergarten_operator import names
from tiergarten_operator.desired import fetching, pod
from tiergarten_operator.desired.stamp import annotated, child
from tiergarten_operator.facts import JOB, Facts, Manifest, Ref
from tiergarten_operator.settings import Settings

TRIES: Final = 5
KEPT_SECONDS: Final = 86_400  # long enough to read why it failed; then it is tried anew
GRACE_SECONDS: Final = 30
HOPELESS: Final = [ChecksumMismatch.exit_code, NotFound.exit_code]


def build(facts: Facts, settings: Settings) -> Iterator[Manifest]:
    """Yield the Job, if the tier's model is fetched or found by one and there is none yet."""
    tier = facts.tier
    name = names.job(tier)
    if (
        names.way(tier) not in {names.Way.JOB, names.Way.LOCATE}
        or Ref(JOB.name, name) in facts.live
    ):
        return
    annotations = pod.spec_annotation(tier)
    metadata = {"labels": names.child_labels(tier, labels.FETCH), "annotations": annotations}
    head = annotated(
        child(JOB, tier, name, labels.FETCH), {labels.MODEL_HASH: names.model_hash(tier)}
    )
    yield head | {
        "spec": {
            "backoffLimit": TRIES - 1,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "podFailurePolicy": {"rules": _rules()},
            "template": {"metadata": metadata, "spec": _pod(tier, settings)},
        }
    }


def _rules() -> list[dict[str, Any]]:
    codes = {"containerName": fetching.NAME, "operator": "In", "values": HOPELESS}
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    return [
        {"action": "FailJob", "onExitCodes": codes},
        {"action": "Ignore", "onPodConditions": disrupted},  # a drained node is no failed try
    ]


def _pod(tier: ModelTier, settings: Settings) -> pod.Pod:
    found = pod.base(tier, settings, drain_seconds=GRACE_SECONDS)
    found["volumes"] = [*found["volumes"], pod.spec_volume()]
    found["restartPolicy"] = "Never"
    port = {"name": "progress", "containerPort": names.PROGRESS_PORT, "protocol": "TCP"}
    told = ("--progress-port", str(names.PROGRESS_PORT))
    found["containers"] = [fetching.container(tier, settings, *told) | {"ports": [port]}]
    found.pop("runtimeClassName", None)  # no GPU is needed to fetch
    found.pop("topologySpreadConstraints", None)  # they are about the servers
    found["affinity"] = near_the_servers(tier, found.get("affinity", {}))
    return found


def near_the_servers(tier: ModelTier, affinity: dict[str, Any]) -> dict[str, Any]:
    """Return affinity that draws the Job to the node where the claim is mounted already.

    A claim that one node may mount would else keep the Job of the next revision waiting.
    """
    term = {
        "weight": 100,
        "podAffinityTerm": {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": names.selector(tier)},
        },
    }
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    pods = dict(affinity.get("podAffinity") or {})
    pods[preferred] = [*(pods.get(preferred) or ()), term]
    return {**affinity, "podAffinity": pods}
