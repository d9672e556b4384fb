"""What operator and router may do: exactly the golden file, and nothing that leads further."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from charting import CASES, Manifest, Rendered

GOLDEN = Path(__file__).parent / "golden" / "rules.txt"
# Verbs and resources by which an account comes to more than it was given.
LEADS_FURTHER = {
    *("*", "escalate", "bind", "impersonate"),
    *("pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "nodes/proxy"),
    *("serviceaccounts/token", "roles", "clusterroles", "rolebindings", "clusterrolebindings"),
    *("validatingwebhookconfigurations", "mutatingwebhookconfigurations", "nodes"),
}
WRITES = {"create", "update", "patch", "delete", "deletecollection"}
WHOLE = ("ClusterRole", "Role")


def rules(objects: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Yield each rule with its role."""
    for it in objects:
        if it["kind"] in WHOLE:
            for rule in it["rules"]:
                yield it, rule


def lines(objects: list[Manifest]) -> list[str]:
    """Return what is allowed: a role, a resource and its verbs a line."""
    found = set()
    for role, rule in rules(objects):
        named = f" named {','.join(rule['resourceNames'])}" if "resourceNames" in rule else ""
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                what = f"{resource}.{group}".rstrip(".")
                verbs = ",".join(sorted(rule["verbs"]))
                found.add(f"{role['kind']} {role['metadata']['name']}: {what}{named}: {verbs}")
    return sorted(found)


def test_the_roles_are_as_the_golden_file_says(rendered: Rendered) -> None:
    namespaced = lines(rendered(values={"operator": {"replicas": 2}}))
    everywhere = lines(rendered(values={"allNamespaces": True}))

    assert GOLDEN.read_text().splitlines() == namespaced + everywhere


@pytest.mark.parametrize("case", CASES)
def test_no_rule_leads_further(rendered: Rendered, case: str) -> None:
    for _, rule in rules(rendered(values=CASES[case])):
        held = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert held & LEADS_FURTHER == set()
        assert "nonResourceURLs" not in rule


@pytest.mark.parametrize("case", CASES)
def test_secrets_are_never_listed(rendered: Rendered, case: str) -> None:
    for _, rule in rules(rendered(values=CASES[case])):
        if "secrets" in rule["resources"]:
            assert set(rule["verbs"]) & {"list", "watch", "deletecollection"} == set()


def test_nothing_is_cluster_wide_unless_every_namespace_is_served(rendered: Rendered) -> None:
    kinds = {it["kind"] for it in rendered(values={"namespaces": ["a", "b"]})}

    assert kinds & {"ClusterRole", "ClusterRoleBinding"} == set()


@pytest.mark.parametrize("case", CASES)
def test_the_router_only_looks(rendered: Rendered, case: str) -> None:
    for role, rule in rules(rendered(values=CASES[case])):
        if role["metadata"]["name"].endswith("-router"):
            assert set(rule["verbs"]) & WRITES == set()
            assert "secrets" not in rule["resources"]
