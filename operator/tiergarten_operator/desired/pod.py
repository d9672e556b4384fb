"""What pods of server and fetch have in common: where they run, what they may, the model's volume.

Every pod passes restricted pod security; only cache mode Node, which an administrator must allow,
does not.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator import names
from tiergarten_operator.settings import Settings

USER: Final = 65532
MODEL_VOLUME: Final = "model"
SPEC_VOLUME: Final = "spec"
SPEC_FILE: Final = "model.json"
SPEC_PATH: Final = "/spec"
FETCH_PATH: Final = "/models"
TERMINATION_LOG: Final = "/dev/termination-log"

Pod = dict[str, Any]


def base(tier: ModelTier, settings: Settings, *, drain_seconds: int) -> Pod:
    """Return a pod without containers.

    Args:
        tier: Whose pod it is.
        settings: The operator's.
        drain_seconds: How long it may take to stop.
    """
    pod: Pod = {
        "serviceAccountName": tier.metadata.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",  # else each start walks through the claim
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": drain_seconds,
        "volumes": [{"name": "tmp", "emptyDir": {}}, *_volumes(tier, settings)],
    }
    if tier.spec.runtime.image_pull_secrets:
        pod["imagePullSecrets"] = [
            {"name": secret.name} for secret in tier.spec.runtime.image_pull_secrets
        ]
    return pod | _scheduling(tier)


def container(
    name: str, image: str, policy: str | None, mounts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return a container that may nothing but run."""
    found: dict[str, Any] = {
        "name": name,
        "image": image,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *mounts],  # noqa: S108 -- in the pod
    }
    return found | ({"imagePullPolicy": policy} if policy else {})


def spec_volume() -> dict[str, Any]:
    """Return the volume that shows a pod its own annotation as tiergarten-fetch's spec.

    So no ConfigMap is needed, which could be changed or lost while the pod waits.
    """
    item = {"path": SPEC_FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{names.SPEC}']"}}
    return {"name": SPEC_VOLUME, "downwardAPI": {"items": [item]}}


def spec_annotation(tier: ModelTier) -> dict[str, str]:
    """Return the annotation that `spec_volume` shows."""
    text = tier.spec.model.model_dump_json(exclude_defaults=True)
    return {names.SPEC: text}


def _scheduling(tier: ModelTier) -> Pod:
    wanted = tier.spec.scheduling
    if wanted is None:
        return {}
    return wanted.model_dump(mode="json", exclude_none=True)


def _volumes(tier: ModelTier, settings: Settings) -> list[dict[str, Any]]:
    source = tier.spec.model.source
    if source.image is not None:
        image = {"reference": source.image.reference, "pullPolicy": source.image.pull_policy}
        return [{"name": MODEL_VOLUME, "image": image}]
    if (claim := names.mounted_claim(tier)) is not None:
        return [{"name": MODEL_VOLUME, "persistentVolumeClaim": {"claimName": claim}}]
    if tier.spec.cache.mode == "Node":
        folder = {"path": settings.node_cache_path, "type": "DirectoryOrCreate"}
        return [{"name": MODEL_VOLUME, "hostPath": folder}, spec_volume()]
    return [{"name": MODEL_VOLUME, "emptyDir": {}}, spec_volume()]
