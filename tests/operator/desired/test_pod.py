"""Every pod that is built passes Kubernetes' restricted pod security standard."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from pydantic import SecretStr

import tiers
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator import desired
from tiergarten_operator.settings import Settings

ALL = Settings(network_policies=True, llama_api_key=SecretStr("k" * 16))


def pods(tier: ModelTier) -> Iterator[dict[str, Any]]:
    """Yield the pods of a tier's Job and Deployment."""
    for fetch in (tiers.FETCHED, tiers.FETCHING):
        for child in desired.build(tiers.facts(tier), fetch, ALL).children:
            if child["kind"] in ("Deployment", "Job"):
                yield child["spec"]["template"]["spec"]


@given(tiers.tiers())
def test_every_pod_passes_restricted_pod_security(tier: ModelTier) -> None:
    for pod in pods(tier):
        assert list(breaches(pod)) == []


def breaches(pod: dict[str, Any]) -> Iterator[str]:
    """Yield what the restricted pod security standard forbids."""
    security = pod["securityContext"]
    if not security.get("runAsNonRoot") or security.get("runAsUser") == 0:
        yield "root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "seccomp"
    yield from (it for it in ("hostNetwork", "hostPID", "hostIPC") if pod.get(it))
    allowed = {"name", "emptyDir", "persistentVolumeClaim", "downwardAPI", "image"}
    yield from (name for volume in pod["volumes"] for name in volume if name not in allowed)
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        own = container["securityContext"]
        if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
            yield "privileged"
        if own["capabilities"] != {"drop": ["ALL"]}:
            yield "capabilities"
        if not own["readOnlyRootFilesystem"]:
            yield "writable"
