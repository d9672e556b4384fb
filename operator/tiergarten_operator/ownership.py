"""Says whose a live object is, and who last said how many replicas there are. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from tiergarten_api import labels
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator.facts import CLAIM, TIER, Manifest

REPLICAS: Final = ("f:spec", "f:replicas")


class Whose(StrEnum):
    """Whose an object with a child's name is."""

    OURS = "ours"
    STALE = "stale"  # of a tier of the same name that was there before
    FOREIGN = "foreign"


def of(live: Manifest, tier: ModelTier) -> Whose:
    """Return whose a live object is."""
    owners = live["metadata"].get("ownerReferences") or ()
    for owner in owners:
        if owner["uid"] == tier.metadata.uid:
            return Whose.OURS
    if any(it["kind"] == TIER.name and it["name"] == tier.metadata.name for it in owners):
        return Whose.STALE
    # A claim that outlives its tier has no owner; what we once wrote into it tells it.
    retained = not owners and live["kind"] == CLAIM.name
    notes: Mapping[str, str] = live["metadata"].get("annotations") or {}
    return Whose.OURS if retained and labels.OBJECT_HASH in notes else Whose.FOREIGN


def sets_replicas(deployment: Manifest, manager: str) -> bool:
    """Return whether a field manager has applied a Deployment's number of replicas."""
    for entry in deployment["metadata"].get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("operation") == "Apply":
            fields: Mapping[str, Any] = entry.get("fieldsV1") or {}
            return REPLICAS[1] in fields.get(REPLICAS[0], {})
    return False
