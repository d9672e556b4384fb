"""What the operator may do, as rights that a test takes away one by one."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from kit.cluster import Cluster
from kit.processes import wait_for

FILES = Path(__file__).parents[2] / "charts/tiergarten/files"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ACCOUNT = "operator"
SEEING = frozenset({"list", "watch"})


@dataclass(frozen=True, order=True)
class Right:
    """One verb on one resource."""

    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"

    def refused(self, namespace: str) -> str:
        """Return what the API server says to somebody who lacks it."""
        if self.resource == "modeltiers/finalizers":
            return "cannot set blockOwnerDeletion"
        where = f'in API group "{self.group}" in the namespace "{namespace}"'
        return f'cannot {self.verb} resource "{self.resource}" {where}'


def rights(file: str = "operator-rules.yaml") -> list[Right]:
    """Return the rights in a file of rules."""
    rules = yaml.safe_load((FILES / file).read_text())
    return sorted(
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    )


def grant(
    cluster: Cluster, namespace: str | None, given: Iterable[Right], *, home: str | None = None
) -> None:
    """Give rights in a namespace, or in all, to the operator's account.

    Args:
        cluster: Where.
        namespace: The namespace; None for all.
        given: The rights.
        home: The namespace of the account, if it is another one.
    """
    home = home or namespace
    assert home is not None
    root = f"{RBAC}/namespaces/{namespace}" if namespace else RBAC
    kind, name = ("Role", ACCOUNT) if namespace else ("ClusterRole", f"{ACCOUNT}-{home}")
    wanted = list(given)
    _post(cluster.api, f"{root}/{kind.lower()}s", {"metadata": {"name": name}} | _rules(wanted))
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": home}
    binding: dict[str, Any] = {"metadata": {"name": name}, "subjects": [subject]}
    binding["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
    _post(cluster.api, f"{root}/{kind.lower()}bindings", binding)
    wait_for("the rights", lambda: may(cluster, home, wanted[-1], namespace), 10)


def revoke_everywhere(cluster: Cluster, home: str) -> None:
    """Take away what `grant` gave in all namespaces."""
    for kind in ("clusterroles", "clusterrolebindings"):
        cluster.api.delete(f"{RBAC}/{kind}/{ACCOUNT}-{home}").raise_for_status()


def account(cluster: Cluster, namespace: str) -> Path:
    """Make the operator's account, and return a kubeconfig for it."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    _post(cluster.api, path, {"metadata": {"name": ACCOUNT}})
    return cluster.kubeconfig_of(namespace, ACCOUNT)


def may(cluster: Cluster, home: str, right: Right, namespace: str | None) -> bool:
    """Say whether the API server would let the account do something."""
    resource, _, part = right.resource.partition("/")
    wanted = {"group": right.group, "resource": resource, "subresource": part, "verb": right.verb}
    body = {
        "spec": {
            "user": f"system:serviceaccount:{home}:{ACCOUNT}",
            "resourceAttributes": wanted | ({"namespace": namespace} if namespace else {}),
        }
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    return bool(_post(cluster.api, path, body)["status"]["allowed"])


def used(cluster: Cluster, home: str) -> set[Right]:
    """Return what the account did and was allowed to do."""
    found = set()
    for event in cluster.audit():
        code = event.get("responseStatus", {}).get("code", 0)
        mine = event["user"]["username"] == f"system:serviceaccount:{home}:{ACCOUNT}"
        if not mine or "objectRef" not in event or code == 403:
            continue
        about = event["objectRef"]
        resource = "/".join(about[it] for it in ("resource", "subresource") if it in about)
        verbs = {event["verb"]} | ({"create"} if code == 201 else set())  # an apply that made it
        found |= {Right(about.get("apiGroup", ""), resource, verb) for verb in verbs}
    return found


def _rules(given: Iterable[Right]) -> dict[str, Any]:
    verbs: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for it in given:
        verbs[it.group, it.resource].append(it.verb)
    rules = [
        {"apiGroups": [group], "resources": [resource], "verbs": allowed}
        for (group, resource), allowed in verbs.items()
    ]
    return {"rules": rules}


def _post(api: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return dict(api.post(path, json=body).raise_for_status().json())
