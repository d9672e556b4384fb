"""Whose a live object is, and who says how many replicas there are."""

import pytest

import tiers
from tiergarten_api import labels
from tiergarten_operator import ownership
from tiergarten_operator.facts import Manifest
from tiergarten_operator.ownership import Whose


def owner(uid: str, kind: str = "ModelTier", name: str = "q4") -> Manifest:
    return {"kind": kind, "name": name, "uid": uid}


@pytest.mark.parametrize(
    ("kind", "metadata", "whose"),
    [
        ("Service", {"ownerReferences": [owner(tiers.UID)]}, Whose.OURS),
        ("Service", {"ownerReferences": [owner("other")]}, Whose.STALE),
        ("Service", {"ownerReferences": [owner("other", name="q2")]}, Whose.FOREIGN),
        ("Service", {"ownerReferences": [owner("other", kind="Release")]}, Whose.FOREIGN),
        ("Service", {}, Whose.FOREIGN),
        ("Service", {"annotations": {labels.OBJECT_HASH: "x"}}, Whose.FOREIGN),
        ("PersistentVolumeClaim", {"annotations": {labels.OBJECT_HASH: "x"}}, Whose.OURS),
        ("PersistentVolumeClaim", {}, Whose.FOREIGN),
    ],
)
def test_an_object_is_ours_by_its_owners_uid_or_as_a_retained_claim(
    kind: str, metadata: Manifest, whose: Whose
) -> None:
    assert ownership.of({"kind": kind, "metadata": metadata}, tiers.tier()) is whose


@pytest.mark.parametrize(
    ("entry", "sets"),
    [
        ({"manager": "m", "operation": "Apply"}, False),
        ({"manager": "m", "operation": "Apply", "fieldsV1": {"f:spec": {}}}, False),
        (
            {"manager": "m", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            True,
        ),
        (
            {"manager": "m", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            False,
        ),
    ],
)
def test_replicas_are_a_managers_if_it_applied_them(entry: Manifest, *, sets: bool) -> None:
    live = {"metadata": {"managedFields": [entry]}}

    assert ownership.sets_replicas(live, "m") is sets
    assert not ownership.sets_replicas(live, "n")
    assert not ownership.sets_replicas({"metadata": {}}, "m")
