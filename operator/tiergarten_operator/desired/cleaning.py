"""The Job that takes a deleted tier's folder out of a claim that it shared with other tiers."""

from typing import Any, Final

from tiergarten_api import labels
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator import names
from tiergarten_operator.desired import fetching, pod
from tiergarten_operator.desired.job import near_the_servers
from tiergarten_operator.desired.stamp import child
from tiergarten_operator.facts import JOB, Manifest
from tiergarten_operator.settings import Settings

TRIES: Final = 3
KEPT_SECONDS: Final = 300
GRACE_SECONDS: Final = 10


def build(tier: ModelTier, settings: Settings) -> Manifest:
    """Return the Job; the tier does not own it, for it goes while the Job runs."""
    labelled = names.child_labels(tier, labels.FETCH)
    metadata = {"labels": labelled, "annotations": pod.spec_annotation(tier)}
    found: dict[str, Any] = pod.base(tier, settings, drain_seconds=GRACE_SECONDS)
    found["volumes"] = [*found["volumes"], pod.spec_volume()]
    found["restartPolicy"] = "Never"
    found["containers"] = [fetching.remover(settings)]
    found.pop("runtimeClassName", None)
    found.pop("topologySpreadConstraints", None)
    found["affinity"] = near_the_servers(tier, found.get("affinity", {}))
    return child(JOB, tier, names.cleaner(tier), labels.FETCH, owned=False) | {
        "spec": {
            "backoffLimit": TRIES - 1,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {"metadata": metadata, "spec": found},
        }
    }
