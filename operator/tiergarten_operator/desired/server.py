"""The pod template of llama-server."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from tiergarten_api import labels, llama
from tiergarten_api.v1alpha1 import EnvVar, FileSpec, ModelTier
from tiergarten_fetch import layout
from tiergarten_fetch.outcomes import Fetched, Outcome
from tiergarten_operator import names
from tiergarten_operator.desired import api_key, fetching, memory, pod
from tiergarten_operator.settings import Settings

NAME: Final = "llama-server"
MODEL_PATH: Final = "/model"
GRACE_SECONDS: Final = 15  # for the pause before the drain, and llama-server's own end after it
PROBE_SECONDS: Final = 2

# SIGTERM cuts streams, so the pod first waits until nobody is served: twice in a row, for a query
# may come in between. The key goes by standard input, where no list of processes shows it. A server
# that is late with its metrics computes a long prompt; one that takes no connection (7) is gone,
# one that loads (503) serves nobody, and one that refuses them tells nothing.
DRAIN: Final = """\
sleep "$4"
command -v curl >/dev/null 2>&1 || { sleep "$3"; exit 0; }
end=$(($(date +%s) + $1)); idle=0; busy='llamacpp:requests_processing 1'
while [ "$idle" -lt 2 ] && [ "$(date +%s)" -lt "$end" ]; do
  found=$(printf 'Authorization: Bearer %s\\n' "$LLAMA_API_KEY" |
    curl -s -m 5 -H @- -w ' %{http_code}' "http://127.0.0.1:$2/metrics")
  case "$? ${found##* }" in
    '0 200') ;;
    '7 '*|'0 503') exit 0 ;;
    '0 '*) sleep "$3"; exit 0 ;;
    *) found=$busy ;;
  esac
  if printf '%s\\n' "$found" | grep -E '^llamacpp:requests_(processing|deferred) ' |
    grep -qv ' 0$'; then idle=0; else idle=$((idle + 1)); fi
  sleep 0.5
done
"""
ROUTER_SECONDS: Final = 3
"""Pause before the drain, until every router has seen that the pod goes."""
BLIND_SECONDS: Final = 30
"""How long a pod without curl waits; it cannot see when it is idle."""


def template(tier: ModelTier, outcome: Outcome | None, settings: Settings) -> dict[str, Any]:
    """Return the template.

    Args:
        tier: The tier.
        outcome: What its fetch told of the model, if it is known.
        settings: The operator's.
    """
    rollout = tier.spec.rollout
    found = pod.base(tier, settings, drain_seconds=rollout.drain_timeout_seconds + GRACE_SECONDS)
    mount = _mount(tier)
    match names.way(tier):
        case names.Way.JOB:
            found["initContainers"] = [fetching.check(settings, MODEL_PATH, mount)]
        case names.Way.PODS:
            found["initContainers"] = [fetching.container(tier, settings)]
        case names.Way.MOUNT | names.Way.LOCATE:
            pass
    found["containers"] = [_server(tier, outcome, settings, mount)]
    metadata: dict[str, Any] = {"labels": names.child_labels(tier)}
    if annotations := _annotations(tier, outcome, settings):
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": found}


def has_device(tier: ModelTier) -> bool:
    """Return whether a tier's pods hold a GPU, or whatever else a vendor's plugin counts."""
    wanted = tier.spec.resources
    held = {**((wanted and wanted.requests) or {}), **((wanted and wanted.limits) or {})}
    return any("/" in name for name in held)


def _annotations(tier: ModelTier, outcome: Outcome | None, settings: Settings) -> dict[str, str]:
    found = api_key.annotation(settings)
    if names.way(tier) is names.Way.PODS:
        found |= pod.spec_annotation(tier)
        if labels.REFETCH in tier.metadata.annotations:
            found[labels.REFETCH] = tier.metadata.annotations[labels.REFETCH]
    elif outcome is not None and outcome.digest is not None:
        found[names.DIGEST] = outcome.digest
    return found


def _mount(tier: ModelTier) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": pod.MODEL_VOLUME,
        "mountPath": MODEL_PATH,
        "readOnly": True,
    }
    volume = tier.spec.model.source.volume
    if names.way(tier) not in {names.Way.MOUNT, names.Way.LOCATE}:
        found["subPath"] = f"models/{layout.key(tier.spec.model)}"
    elif volume is not None and volume.sub_path:
        found["subPath"] = volume.sub_path
    return found


def _server(
    tier: ModelTier, outcome: Outcome | None, settings: Settings, mount: dict[str, Any]
) -> dict[str, Any]:
    runtime = tier.spec.runtime
    policy = runtime.image_pull_policy or (None if runtime.image else settings.image_pull_policy)
    found = pod.container(NAME, runtime.image or settings.server_image, policy, [mount])
    if settings.server_command and runtime.image is None:
        found["command"] = list(settings.server_command)
    found["args"] = _arguments(tier, outcome)
    if variables := [*api_key.variable(tier, settings), *map(_variable, runtime.extra_env or ())]:
        found["env"] = variables
    port = {"name": labels.PORT_NAME, "containerPort": labels.PORT, "protocol": "TCP"}
    found["ports"] = [port]
    found["resources"] = memory.resources(tier, outcome, on_device=has_device(tier))
    found |= _probes(tier)
    found["lifecycle"] = {"preStop": {"exec": {"command": _drain(tier)}}}
    return found


def _arguments(tier: ModelTier, outcome: Outcome | None) -> list[str]:
    """Return llama-server's arguments; the files are the tier's, or those that were found."""
    files: Sequence[FileSpec | Fetched] = tier.spec.model.files or (outcome and outcome.files) or ()
    projector = next(_paths(files, "Projector"), None)
    draft = next(_paths(files, "Draft"), None)
    adapters = tuple(_paths(files, "Adapter"))
    model = next(_paths(files, "Model"))
    return llama.argv(tier.spec, model, projector=projector, draft=draft, adapters=adapters)


def _paths(files: Sequence[FileSpec | Fetched], role: str) -> Iterator[str]:
    return (f"{MODEL_PATH}/{file.name}" for file in files if file.role == role)


def _variable(wanted: EnvVar) -> dict[str, Any]:
    source = wanted.value_from.secret_key_ref if wanted.value_from is not None else None
    if source is not None:
        key = {"name": source.name, "key": source.key}
        return {"name": wanted.name, "valueFrom": {"secretKeyRef": key}}
    return {"name": wanted.name, "value": wanted.value or ""}


def _probes(tier: ModelTier) -> dict[str, Any]:
    """Return the three probes; /health is 503 while the model loads and 200 after."""
    health = {"httpGet": {"path": "/health", "port": labels.PORT_NAME}}
    patience = tier.spec.rollout.startup_timeout_seconds // PROBE_SECONDS
    return {
        "startupProbe": health
        | {"periodSeconds": PROBE_SECONDS, "timeoutSeconds": 2, "failureThreshold": patience},
        "readinessProbe": health | {"periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 2},
        "livenessProbe": health
        | {"periodSeconds": 20, "timeoutSeconds": 10, "failureThreshold": 6},
    }


def _drain(tier: ModelTier) -> list[str]:
    seconds = tier.spec.rollout.drain_timeout_seconds
    numbers = (seconds, labels.PORT, min(seconds, BLIND_SECONDS), ROUTER_SECONDS)
    return ["/bin/sh", "-c", DRAIN, "drain", *map(str, numbers)]
