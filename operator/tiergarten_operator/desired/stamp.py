"""What all children have in common: names, labels, the owner, and the hash of what was applied."""

from typing import Any

from tiergarten_api import labels
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator import names
from tiergarten_operator.facts import Kind, Manifest


def child(
    kind: Kind,
    tier: ModelTier,
    name: str | None = None,
    component: str = labels.SERVER,
    *,
    owned: bool = True,
) -> Manifest:
    """Return the head of a child's manifest.

    Args:
        kind: What it is.
        tier: Whose it is.
        name: Its name, if it is not the tier's.
        component: `labels.SERVER` or `labels.FETCH`.
        owned: Whether it goes when the tier goes.
    """
    metadata: dict[str, Any] = {
        "name": name or tier.metadata.name,
        "namespace": tier.metadata.namespace,
        "labels": names.child_labels(tier, component),
    }
    if owned:
        metadata["ownerReferences"] = [_owner(tier)]
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}


def annotated(manifest: Manifest, annotations: dict[str, str]) -> Manifest:
    """Return a manifest with more annotations."""
    metadata = manifest["metadata"]
    more = {**metadata.get("annotations", {}), **annotations}
    return {**manifest, "metadata": {**metadata, "annotations": more}}


def stamped(manifest: Manifest) -> Manifest:
    """Return a manifest that carries its own hash, by which an unchanged one is seen."""
    return annotated(manifest, {labels.OBJECT_HASH: names.digest(manifest)})


def _owner(tier: ModelTier) -> dict[str, Any]:
    return {
        "apiVersion": labels.API_VERSION,
        "kind": "ModelTier",
        "name": tier.metadata.name,
        "uid": tier.metadata.uid or "",
        "controller": True,
        "blockOwnerDeletion": True,
    }
