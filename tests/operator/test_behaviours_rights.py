"""The operator's rights: none is unused, and of each that is missing somebody is told."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

import rights
from kit import namespaces
from kit.cluster import Cluster
from kit.processes import Stuck, wait_for
from operating import HUB_TIER, SETTINGS, World
from rights import SEEING, Right
from tiergarten_operator.cluster import Audit, Store, connect
from tiergarten_operator.facts import CLAIM, ROUTE, TIER

Run = Callable[..., Any]
ALL = SETTINGS.model_copy(
    update={"network_policies": True, "llama_api_key": SecretStr("k" * 16), "workers": 16}
)
RIGHTS = rights.rights()
LISTS = [it for it in RIGHTS if it.verb == "list"]
SECONDS = 120
AUTO = {
    "apiVersion": "tiergarten.dev/v1alpha1",
    "kind": "TierRoute",
    "metadata": {"name": "auto"},
    "spec": {"model": "auto", "tiers": [{"name": "q4"}]},
}
FORBIDDEN = ("escalate", "bind", "impersonate", "*")


def test_the_rules_hold_nothing_that_opens_more() -> None:
    for it in RIGHTS + rights.rights("operator-lease-rules.yaml"):
        assert it.verb not in FORBIDDEN
        assert "*" not in (it.group, it.resource)
        assert it.resource not in {"pods/exec", "roles", "clusterroles"}
        assert it.resource != "secrets" or it.verb not in SEEING


@pytest.mark.timeout(180)
def test_no_right_is_unused(world: World, operator: Run, cluster: Cluster) -> None:
    home = world.namespace
    login = rights.account(cluster, home)
    rights.grant(cluster, home, RIGHTS)
    with_children_of_former_tiers(world, operator=operator)

    with operator(kubeconfig=login, settings=ALL):
        a_life(world)
        world.tier("q7", HUB_TIER, routing={"rank": 7})

        def unused() -> set[Right]:
            # The API server asks about it without a request of the operator's.
            silent = {it for it in RIGHTS if it.resource == "modeltiers/finalizers"}
            return set(RIGHTS) - silent - rights.used(cluster, home)

        with contextlib.suppress(Stuck):
            wait_for("all rights to be used", lambda: not unused(), SECONDS)
        assert sorted(map(str, unused())) == []

    beyond = {it for it in rights.used(cluster, home) - set(RIGHTS) if it.resource != ""}
    assert sorted(map(str, beyond)) == []


@pytest.mark.timeout(300)
def test_of_each_missing_right_somebody_is_told_and_nothing_else_suffers(
    world: World, operator: Run, cluster: Cluster
) -> None:
    home = world.namespace
    login = rights.account(cluster, home)
    rights.grant(cluster, None, [it for it in RIGHTS if it.verb in SEEING], home=home)
    writes = [it for it in RIGHTS if it.verb not in SEEING]
    with contextlib.ExitStack() as ending, structlog.testing.capture_logs() as logged:
        ending.callback(rights.revoke_everywhere, cluster, home)
        lacking: dict[Right, World] = {}
        for right in writes:
            there = ending.enter_context(another(cluster))
            lacking[right] = there
            rights.grant(cluster, there.namespace, [it for it in writes if it != right], home=home)
        rights.grant(cluster, home, writes)
        deleting = [there for right, there in lacking.items() if right.verb == "delete"]
        with_children_of_former_tiers(*deleting, operator=operator)
        for there in lacking.values():
            a_life(there)
        a_life(world)

        with operator(kubeconfig=login, settings=ALL, namespaces=(), wait=False) as running:
            untold = dict(lacking)

            def all_told() -> bool:
                text = said(cluster, logged)
                for right, there in lacking.items():
                    if right.refused(there.namespace) in text:
                        untold.pop(right, None)
                return not untold

            with contextlib.suppress(Stuck):
                wait_for("somebody to be told", all_told, SECONDS)
            assert sorted(map(str, untold)) == []
            world.wait_for_reason("q4", "Accepted", "Valid")
            assert running.operator._ill() == ""


@pytest.mark.parametrize("right", LISTS, ids=str)
async def test_what_may_not_be_listed_is_named_before_anything_is_done(
    world: World, cluster: Cluster, right: Right
) -> None:
    home = world.namespace
    login = rights.account(cluster, home)
    rights.grant(cluster, home, [it for it in RIGHTS if it != right])

    async with connect(login, 10) as server:
        hindrance = await Audit(server, Store(), [home]).hindrance()

    assert right.refused(home) in hindrance


def test_what_may_not_be_listed_is_why_the_operator_is_not_ready_until_it_may(
    world: World, operator: Run, cluster: Cluster
) -> None:
    home = world.namespace
    login = rights.account(cluster, home)
    rights.grant(cluster, home, [it for it in RIGHTS if str(it) != "list jobs"])
    world.models()
    world.tier("q4")

    with operator(kubeconfig=login, wait=False) as running:
        world.wait(
            "the reason", lambda: 'cannot list resource "jobs"' in running.operator._unready()
        )
        assert world.children("q4") == {}
        role = f"{rights.RBAC}/namespaces/{home}/roles/{rights.ACCOUNT}"
        live = world.server.get(role).json()
        live["rules"].append({"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"]})
        world.server.put(role, json=live).raise_for_status()
        world.wait_for_child("Deployment/q4")
        world.wait("readiness", lambda: running.operator._unready() == "")


@pytest.mark.timeout(180)
def test_what_may_not_be_watched_is_told_and_the_rest_works(
    world: World, operator: Run, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    home = world.namespace
    login = rights.account(cluster, home)
    rights.grant(cluster, home, [it for it in RIGHTS if it.verb != "watch"])
    world.models()
    world.tier("q4")

    with caplog.at_level(logging.ERROR, "kopf"), operator(kubeconfig=login, wait=False):
        world.wait_for_child("Service/q4")  # its first list is allowed
        for right in RIGHTS:
            if right.verb == "watch":
                refused = right.refused(home)
                wait_for(refused, partial(_logged, caplog, refused), SECONDS)


def with_children_of_former_tiers(*worlds: World, operator: Run) -> None:
    """Leave what tiers had that were there before, under the names that the next ones need."""
    for world in worlds:
        a_life(world)
    with operator(settings=ALL, namespaces=tuple(it.namespace for it in worlds)):
        for world in worlds:
            for name in ("q4", "q6"):
                world.wait_for_reason(name, "Accepted", "Valid")
    for world in worlds:
        for name in ("q4", "q5", "q6"):
            world.change(TIER, name, {"metadata": {"finalizers": None}})
            world.delete(TIER, name)


def a_life(world: World) -> None:
    """Make tiers that need every kind of child, and one whose claim outlives it."""
    if world.get(CLAIM, "models") is None:
        world.models()
    world.tier("q4", autoscaling={"minReplicas": 2, "maxReplicas": 4})
    world.tier("q5", HUB_TIER, routing={"rank": 5}, cache={"deletionPolicy": "Retain"})
    world.tier("q6", HUB_TIER, routing={"rank": 6})
    if world.get(ROUTE, "auto") is None:
        world.make(AUTO)


@contextlib.contextmanager
def another(cluster: Cluster) -> Iterator[World]:
    """Yield another namespace."""
    name = namespaces.make(cluster)
    yield World(cluster.api, name)
    namespaces.remove(cluster, name)


def said(cluster: Cluster, logged: list[Any]) -> str:
    """Return all that users and administrators are told."""
    tiers = cluster.api.get(f"/apis/{TIER.api_version}/{TIER.plural}").json()["items"]
    conditions = [c for it in tiers for c in it.get("status", {}).get("conditions", ())]
    return "\n".join([*map(str, logged), *(str(it["message"]) for it in conditions)])


def _logged(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    return text in caplog.text
