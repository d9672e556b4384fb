"""The chart under load while the cluster breaks and changes: no query fails.

Operator, two routers behind their Service and llama.cpp in pods, all real. The API server is away
for 15 s, or for the seconds that `TIERGARTEN_TEST_OUTAGE_SECONDS` names.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import chart_demo
import nodes
from following import kill_api_server
from kit import api, debian, fixtures, namespaces
from kit.cluster import Cluster
from kit.fixtures import Clusters
from kit.helm import Helm
from kit.processes import wait_for
from loads import SHORT, Load
from nodes import NodeWorld
from operating import Manifest
from tiergarten_operator.facts import BUDGET, DEPLOYMENT, POD, TIER

pytestmark = [
    pytest.mark.level(3),
    pytest.mark.usefixtures("cluster"),
    pytest.mark.timeout(400),
]
OUTAGE_SECONDS = float(os.environ.get("TIERGARTEN_TEST_OUTAGE_SECONDS", "15"))
SECONDS = 120
NAME = "small"
ROUTERS = {"labelSelector": "app.kubernetes.io/component=router"}


class Site(NodeWorld):
    """A namespace with the chart in it, and a tier of two replicas."""

    seconds = SECONDS

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        super().__init__(cluster, namespace)
        self.demo = chart_demo.Demo(cluster, namespace, print, SECONDS)

    def names(self) -> set[str]:
        """Return the names of the tier's pods that are not on their way out."""
        found = [it["metadata"] for it in self.pods(NAME)]
        return {it["name"] for it in found if "deletionTimestamp" not in it}

    def routers(self) -> list[Manifest]:
        """Return the router's pods."""
        answer = self.server.get(self.path(POD), params=ROUTERS).raise_for_status()
        return list(answer.json()["items"])

    def wait(self, what: str, check: Callable[[], object]) -> None:
        """Wait for something that may be asked of pods that are on their way."""

        def holds() -> bool:
            with contextlib.suppress(httpx.TransportError, ValueError):
                return bool(check())
            return False

        super().wait(what, holds)

    def settle(self, replicas: int) -> None:
        """Wait until so many pods serve, none is on its way out, and every router knows them."""

        def settled() -> bool:
            pods = self.pods(NAME)
            known = {frozenset(healthy(it)) for it in self.routers()}
            return (
                len(pods) == replicas
                and all(map(nodes.is_ready, pods))
                and self.reasons(NAME)["Progressing"] == "Settled"
                and known == {frozenset(it["metadata"]["name"] for it in pods)}
            )

        self.wait(f"{replicas} replicas that every router knows", settled)

    def scale(self, replicas: int) -> None:
        """Scale the tier as `kubectl scale` does."""
        path = f"{self.path(TIER, NAME)}/scale"
        api.merge(self.server, path, {"spec": {"replicas": replicas}}).raise_for_status()
        self.settle(replicas)

    def load(self, **options: Any) -> Load:
        """Return a load on the router's Service."""
        self.settle(2)
        return Load(self.demo.url, NAME, **options)


@pytest.fixture(scope="module")
def site(
    clusters: Clusters,
    helm: Helm,  # noqa: ARG001 -- it must be built
    scripted_model: Callable[[str], Path],
) -> Iterator[Site]:
    """The chart, installed, and its tier, for all tests of the module."""
    cluster = clusters.at(3)
    debian.layer()
    with fixtures.turn(cluster, alone=False):
        namespace = namespaces.make(cluster)
        found = Site(cluster, namespace)
        found.demo.install()
        cluster.claim(namespace, "models", {"small.gguf": scripted_model("small")})
        runtime = nodes.SMALL | {"contextLength": 8192, "parallel": 4}
        source = nodes.volume("models", "small.gguf")
        found.put(nodes.tier(NAME, source, runtime=runtime, replicas=2))
        found.demo.wait()
    yield found
    cluster.heal()
    found.remove()


def test_a_pod_that_is_deleted_without_grace_fails_no_query(site: Site) -> None:
    load, before = site.load(tokens=SHORT), site.names()

    with load.running():
        path = site.path(POD, min(before))
        body = {"gracePeriodSeconds": 0}
        site.server.request("DELETE", path, json=body).raise_for_status()
        site.wait("it to be replaced", lambda: min(before) not in site.names())
        site.settle(2)

    load.tell("a pod deleted with grace 0")
    assert (load.failures, load.cut) == ([], [])
    assert min(before) in load.endpoints
    assert site.names() <= set(load.endpoints)


def test_a_server_that_is_killed_costs_only_answers_that_have_begun(site: Site) -> None:
    load, pod = site.load(), site.pods(NAME)[0]
    (container,) = pod["status"]["containerStatuses"]

    with load.running():
        site.cluster.containerd.kill(container["containerID"].rpartition("/")[2])

        def restarted() -> bool:
            now = site.there(POD, pod["metadata"]["name"])["status"]["containerStatuses"][0]
            return bool(now["restartCount"])

        site.wait("a new container", restarted)
        site.settle(2)

    load.tell("a server killed by SIGKILL")
    assert load.failures == []
    assert len(load.cut) <= 2  # two clients stream


def test_a_roll_out_fails_no_query(site: Site) -> None:
    load, before = site.load(), site.names()

    with load.running():
        site.change(TIER, NAME, {"spec": {"runtime": {"promptCacheMiB": 1}}})
        site.wait("other pods", lambda: before.isdisjoint(site.names()))
        site.settle(2)

    load.tell("a roll-out of the tier")
    assert (load.failures, load.cut) == ([], [])
    assert before | site.names() <= set(load.endpoints)


def test_scaling_from_one_to_five_to_two_fails_no_query(site: Site) -> None:
    load = site.load()

    with load.running():
        for replicas in (1, 5, 2):
            site.scale(replicas)
            load.goes_on(50)

    load.tell("scaled 2 -> 1 -> 5 -> 2")
    assert (load.failures, load.cut) == ([], [])
    assert len(load.endpoints) >= 5


def test_a_drain_of_the_node_fails_no_query(site: Site) -> None:
    load, before = site.load(), site.names()
    assert site.there(BUDGET, NAME)["status"]["disruptionsAllowed"] == 1
    answers = []

    with load.running():
        for pod in sorted(before):

            def evicted(pod: str = pod) -> bool:
                answers.append(site.evict(pod))
                return answers[-1] == 201

            site.wait(f"{pod} to be let go", evicted)
        site.wait("other pods", lambda: before.isdisjoint(site.names()))
        site.settle(2)

    load.tell(f"both pods evicted ({answers.count(429)} refusals by the budget)")
    assert (load.failures, load.cut) == ([], [])
    assert 429 in answers
    assert before | site.names() <= set(load.endpoints)


@pytest.mark.level(3, alone=True)
@pytest.mark.timeout(400 + OUTAGE_SECONDS)
def test_an_api_server_that_is_away_fails_no_query(site: Site) -> None:
    load, routers = site.load(), site.routers()

    with load.running():
        kill_api_server(site.cluster)
        threading.Event().wait(OUTAGE_SECONDS)  # the fault itself: there is no state to wait for
        wait_for("both routers to say so", lambda: not any(map(reachable, routers)), SECONDS)
        load.goes_on()
        site.cluster.start("kube-apiserver")
        wait_for("both routers to be back", lambda: all(map(reachable, routers)), SECONDS)
        load.goes_on()
        site.scale(3)  # the operator is back, too
        site.scale(2)

    load.tell(f"API server away for {OUTAGE_SECONDS:.0f} s, then 2 -> 3 -> 2")
    assert (load.failures, load.cut) == ([], [])
    assert {it["metadata"]["name"] for it in routers} == {
        it["metadata"]["name"] for it in site.routers()
    }


def test_a_roll_out_of_the_routers_fails_no_query(site: Site) -> None:
    load = site.load()
    before = {it["metadata"]["name"] for it in site.routers()}
    name = f"{chart_demo.RELEASE}-router"
    note = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}

    with load.running():
        site.change(DEPLOYMENT, name, {"spec": {"template": note}})

        def rolled() -> bool:
            pods = site.routers()
            names = {it["metadata"]["name"] for it in pods}
            return len(pods) == 2 and before.isdisjoint(names) and all(map(nodes.is_ready, pods))

        site.wait("other routers, and the end of the old ones", rolled)

    load.tell("a roll-out of the routers")
    assert (load.failures, load.cut) == ([], [])


def healthy(router: Manifest) -> set[str]:
    """Return the replicas of the tier that a router counts as healthy."""
    (tier,) = asked(router, 8080, "/v1/tiers")["tiers"]
    return {it["id"] for it in tier["replicas"] if it["healthy"]}


def reachable(router: Manifest) -> bool:
    """Return whether a router has the API server; it must be ready in any case."""
    return bool(asked(router, 9090, "/readyz")["source"]["reachable"])


def asked(router: Manifest, port: int, path: str) -> Manifest:
    """Ask a router's pod for what it says of itself."""
    url = f"http://{router['status']['podIP']}:{port}{path}"
    answer = httpx.get(url, timeout=10, trust_env=False)
    assert answer.is_success, answer.text
    return dict(answer.json())
