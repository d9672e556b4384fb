"""What a tier's children are called, and the hashes by which changes are seen.

One function a name, for whoever builds a child and whoever looks for it.
"""

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from tiergarten_api import labels
from tiergarten_api.labels import GROUP
from tiergarten_api.v1alpha1 import ModelTier

OUTCOME: Final = f"{GROUP}/model"
"""Annotation of a Deployment: what its fetch told, so that it outlives the Job."""
DIGEST: Final = f"{GROUP}/model-digest"
"""Annotation of a pod template: what tells the model from any other; new bytes restart the pods."""
SPEC: Final = f"{GROUP}/model-spec"
"""Annotation of a pod template: spec.model as tiergarten-fetch reads it."""
KEY_DIGEST: Final = f"{GROUP}/api-key-digest"
"""Annotation of a pod template: a new key restarts the pods."""
FINALIZER: Final = f"{GROUP}/cache"
"""Finalizer of a tier whose claim outlives it."""

PROGRESS_PORT: Final = 8082
"""Port at which the pod of a fetch says how far it is."""

NAME_LIMIT: Final = 63
JOB_TIER_LENGTH: Final = 48  # and "-fetch-" and eight digits make 63
HASH_DIGITS: Final = 8
FULL_DIGITS: Final = 16


class Way(StrEnum):
    """How a tier's pods get at the model."""

    JOB = "job"  # a Job fetches into a claim
    PODS = "pods"  # each pod fetches for itself, or for its node
    LOCATE = "locate"  # a Job looks which model lies in a volume or an image
    MOUNT = "mount"  # nothing is fetched


def way(tier: ModelTier) -> Way:
    """Return how the pods of a tier get at the model."""
    source = tier.spec.model.source
    if source.volume is not None or source.image is not None:
        return Way.MOUNT if tier.spec.model.files else Way.LOCATE
    return Way.JOB if tier.spec.cache.mode in {"PerTier", "Shared"} else Way.PODS


def claim(tier: ModelTier) -> str:
    """Return the name of the tier's own claim."""
    return f"{tier.metadata.name}-model"


def mounted_claim(tier: ModelTier) -> str | None:
    """Return the claim that the pods mount the model from, if it is one."""
    if (volume := tier.spec.model.source.volume) is not None:
        return volume.claim_name
    if way(tier) is not Way.JOB:
        return None
    return tier.spec.cache.claim_name or claim(tier)


def job(tier: ModelTier) -> str:
    """Return the name of the Job that fetches, or finds, what the tier asks for now."""
    return f"{tier.metadata.name[:JOB_TIER_LENGTH]}-fetch-{model_hash(tier)}"


def cleaner(tier: ModelTier) -> str:
    """Return the name of the Job that takes a tier's folder out of a shared claim."""
    return f"{tier.metadata.name[:JOB_TIER_LENGTH]}-clean-{model_hash(tier)}"


def secret(tier: ModelTier) -> str:
    """Return the name of the Secret with llama-server's API key."""
    return f"{tier.metadata.name}-api-key"


def model_hash(tier: ModelTier) -> str:
    """Return what tells one fetch of a tier from the next: its source, files and refetch value."""
    model = tier.spec.model.model_dump(
        mode="json", include={"source", "files", "require_checksum"}, exclude_defaults=True
    )
    refetch = tier.metadata.annotations.get(labels.REFETCH, "")
    return digest([tier.metadata.name, model, refetch])[:HASH_DIGITS]


def selector(tier: ModelTier) -> dict[str, str]:
    """Return the labels that find the tier's server pods; a Deployment's cannot change."""
    return {labels.TIER: tier.metadata.name, labels.COMPONENT: labels.SERVER}


def child_labels(tier: ModelTier, component: str = labels.SERVER) -> dict[str, str]:
    """Return the labels of a child.

    Args:
        tier: Whose child it is.
        component: `labels.SERVER` or `labels.FETCH`.
    """
    return {
        labels.NAME: labels.NAME_VALUE,
        labels.INSTANCE: tier.metadata.name,
        labels.COMPONENT: component,
        labels.MANAGED_BY: labels.OPERATOR,
        labels.TIER: tier.metadata.name,
    }


def selector_text(wanted: Mapping[str, str]) -> str:
    """Return labels as the API server takes them in a query."""
    return ",".join(f"{name}={value}" for name, value in wanted.items())


def digest(value: Any) -> str:  # noqa: ANN401 -- anything that JSON can hold
    """Return a hash of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:FULL_DIGITS]
