"""Pods and Deployments as the tests of a node need them: under restricted pod security."""

from collections.abc import Sequence
from typing import Any

import httpx

from kit.cluster import Cluster
from kit.namespaces import NAMESPACES
from kit.processes import wait_for

SECONDS = 60
RESTRICTED = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def pod_spec(image: str, command: Sequence[str], claim: str | None = None) -> dict[str, Any]:
    """Return a pod of one container, with a claim at /data if it is to have one."""
    volumes = [{"name": "tmp", "emptyDir": {}}]
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in the pod
    if claim:
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": claim}})
        mounts.append({"name": "data", "mountPath": "/data"})
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": list(command),
        "volumeMounts": mounts,
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    return {
        "containers": [container],
        "volumes": volumes,
        "securityContext": POD_SECURITY,
        "terminationGracePeriodSeconds": 1,
    }


def run(cluster: Cluster, namespace: str, spec: dict[str, Any]) -> str:
    """Run a pod to its end, and return what it wrote.

    Raises:
        AssertionError: It failed.
    """
    pods = f"{NAMESPACES}/{namespace}/pods"
    body = {"metadata": {"generateName": "run-"}, "spec": spec | {"restartPolicy": "Never"}}
    name = post(cluster, pods, body)["metadata"]["name"]

    def ended() -> bool:
        return phase(cluster, f"{pods}/{name}") in ("Succeeded", "Failed")

    wait_for(f"the pod {name} to end", ended, SECONDS)
    said = cluster.api.get(f"{pods}/{name}/log").text
    assert phase(cluster, f"{pods}/{name}") == "Succeeded", said
    return said


def deploy(cluster: Cluster, namespace: str, name: str, spec: dict[str, Any]) -> str:
    """Make a Deployment of one pod, and return the pod's address once it is ready."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": spec}
    body = {
        "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    post(cluster, path, body)

    def available() -> bool:
        status = cluster.api.get(f"{path}/{name}").json().get("status", {})
        return bool(status.get("availableReplicas"))

    wait_for(f"the deployment {name}", available, SECONDS)
    return str(pods_of(cluster, namespace, name)[0]["status"]["podIP"])


def pods_of(cluster: Cluster, namespace: str, name: str) -> list[dict[str, Any]]:
    """Return the pods of a Deployment."""
    query = {"labelSelector": f"app={name}"}
    return list(cluster.api.get(f"{NAMESPACES}/{namespace}/pods", params=query).json()["items"])


def phase(cluster: Cluster, path: str) -> str:
    """Return a pod's phase."""
    return str(cluster.api.get(path).json()["status"].get("phase"))


def post(cluster: Cluster, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Make an object and return it as the server has it."""
    answer: httpx.Response = cluster.api.post(path, json=body)
    assert answer.is_success, answer.text
    return dict(answer.json())
