"""The container that runs tiergarten-fetch: in a Job, or before the server in a pod."""

from collections.abc import Iterator
from typing import Any, Final

from tiergarten_api import labels
from tiergarten_api.v1alpha1 import ModelTier, SecretKeyRef
from tiergarten_operator import names
from tiergarten_operator.desired import pod
from tiergarten_operator.settings import Settings

NAME: Final = "fetch"
PROGRAM: Final = "tiergarten-fetch"
# It streams, so this holds for any model; the page cache that it fills is given back.
RESOURCES: Final = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    "limits": {"memory": "1Gi"},
}


def container(tier: ModelTier, settings: Settings, *more: str) -> dict[str, Any]:
    """Return the container that fetches the model into its volume.

    Args:
        tier: Whose model it is.
        settings: The operator's.
        more: Further arguments.
    """
    source = tier.spec.model.source
    model: dict[str, Any] = {"name": pod.MODEL_VOLUME, "mountPath": pod.FETCH_PATH}
    if names.way(tier) is names.Way.LOCATE:
        model["readOnly"] = True
        if source.volume is not None and source.volume.sub_path:
            model["subPath"] = source.volume.sub_path
    mounts: list[dict[str, Any]] = [
        model,
        {"name": pod.SPEC_VOLUME, "mountPath": pod.SPEC_PATH, "readOnly": True},
    ]
    found = pod.container(NAME, settings.fetch_image, settings.image_pull_policy, mounts)
    arguments = [
        *("--spec", f"{pod.SPEC_PATH}/{pod.SPEC_FILE}", "--dir", pod.FETCH_PATH),
        *("--progress", "json", "--termination-log", pod.TERMINATION_LOG, *more),
    ]
    if labels.REFETCH in tier.metadata.annotations:
        arguments.append("--refetch")
    return found | _run(tier, settings, arguments)


def remover(settings: Settings) -> dict[str, Any]:
    """Return the container that takes the model's folder out of a claim that others use."""
    mounts: list[dict[str, Any]] = [
        {"name": pod.MODEL_VOLUME, "mountPath": pod.FETCH_PATH},
        {"name": pod.SPEC_VOLUME, "mountPath": pod.SPEC_PATH, "readOnly": True},
    ]
    found = pod.container(NAME, settings.fetch_image, settings.image_pull_policy, mounts)
    where = ["--spec", f"{pod.SPEC_PATH}/{pod.SPEC_FILE}", "--dir", pod.FETCH_PATH]
    arguments = ["--remove", *where, "--termination-log", pod.TERMINATION_LOG]
    return found | {"command": [PROGRAM], "args": arguments, "resources": RESOURCES}


def _run(tier: ModelTier, settings: Settings, arguments: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"command": [PROGRAM], "args": arguments, "resources": RESOURCES}
    if variables := list(_variables(tier, settings)):
        found["env"] = variables
    return found


def check(settings: Settings, folder: str, mount: dict[str, Any]) -> dict[str, Any]:
    """Return the container that ends well only if a model's folder is complete.

    Args:
        settings: The operator's.
        folder: Where the model is mounted.
        mount: How.
    """
    found = pod.container(NAME, settings.fetch_image, settings.image_pull_policy, [mount])
    return found | {
        "command": [PROGRAM],
        "args": ["--check", folder, "--termination-log", pod.TERMINATION_LOG],
        "resources": RESOURCES,
    }


def _variables(tier: ModelTier, settings: Settings) -> Iterator[dict[str, Any]]:
    source = tier.spec.model.source
    if settings.hub_endpoint:
        yield {"name": "HF_ENDPOINT", "value": settings.hub_endpoint}
    if source.hugging_face is not None and source.hugging_face.token_secret_ref is not None:
        yield _secret("HF_TOKEN", source.hugging_face.token_secret_ref)
    if source.http is not None and source.http.header_secret_ref is not None:
        yield _secret("TIERGARTEN_FETCH_HEADER", source.http.header_secret_ref)


def _secret(name: str, reference: SecretKeyRef) -> dict[str, Any]:
    key = {"name": reference.name, "key": reference.key}
    return {"name": name, "valueFrom": {"secretKeyRef": key}}
