"""The chart under load while the cluster breaks and changes: no query fails.

Operator, two routers behind their Service and llama.cpp in pods, all real. The API server is away
for 15 s, or for the seconds that `OUTAGE_SECONDS_TEST` names.
"""

import asyncio
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import chart_demo
import nodes
from kit import debian, fixtures, namespaces
from kit.fixtures import Clusters
from kit.helm import Helm
from kit.processes import wait_for
from loads import SHORT
from operating import Manifest
from redises import RealRedis
from routing import CHAT, ask
from sites import ALONE, NAME, SECONDS, Site, at, reachable
from tiergarten_operator.facts import BUDGET, DEPLOYMENT, POD, SECRET, TIER

pytestmark = [
    pytest.mark.level(3),
    pytest.mark.usefixtures("cluster"),
    pytest.mark.timeout(400),
]
OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS_TEST", "15"))
TOKENS = 1900
RESUMED = {"X-Tiergarten-Cache": "bypass", "X-Tiergarten-Resume": "1"}


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


@pytest.fixture
def redis(site: Site, tmp_path: Path) -> Iterator[str]:
    """The URL of a Redis of this machine that pods reach."""
    options = {"bind": "0.0.0.0", "protected_mode": "no"}  # noqa: S104 -- the node's network is another
    server = RealRedis(tmp_path, **options)
    with asyncio.Runner() as runner:
        runner.run(server.start())
        yield f"redis://{site.cluster.host_address}:{server.port}"
        runner.run(server.kill())


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

    with load.running():
        site.kill(pod)

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
        site.cluster.kill("kube-apiserver")
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


@pytest.mark.level(3, alone=True)
def test_a_server_that_dies_while_the_api_server_is_away_costs_no_more(site: Site) -> None:
    load, pod = site.load(), site.pods(NAME)[0]

    with load.running():
        site.cluster.kill("kube-apiserver")
        load.goes_on()
        site.kill(pod)
        load.goes_on(200)
        site.cluster.start("kube-apiserver")
        site.settle(2)

    load.tell("a server killed while the API server is away")
    assert load.failures == []
    assert len(load.cut) <= 2


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


def test_an_answer_goes_on_at_another_router_when_its_own_is_told_to_end(
    site: Site, redis: str
) -> None:
    secret: Manifest = {"metadata": {"name": "redis"}, "stringData": {"url": redis}}
    site.server.post(site.path(SECRET), json=secret).raise_for_status()
    values = chart_demo.values() | {"redis": {"existingSecret": "redis"}}
    values["router"] = values["router"] | {"stopDelaySeconds": 1}  # the answer takes longer
    Helm(site.cluster.kubeconfig).install(chart_demo.RELEASE, site.namespace, values)
    site.demo.wait()
    site.settle(2)
    first, second = site.routers()
    body = ask("What is a pod?", NAME, stream=True, max_tokens=TOKENS, ignore_eos=True)

    with httpx.stream("POST", f"{at(first)}{CHAT}", json=body, headers=RESUMED, **ALONE) as answer:
        ident = answer.headers["x-tiergarten-answer"]
        begun = list(itertools.islice(events(answer), 5))
    site.delete(POD, first["metadata"]["name"])
    site.wait("it to be told", lambda: "deletionTimestamp" in str(site.routers()))
    path = f"{at(second)}/v1/answers/{ident}/stream"
    headers = {"Last-Event-ID": begun[-1][0]}
    with httpx.stream("GET", path, headers=headers, **ALONE) as answer:
        assert answer.is_success, (answer.read(), site.log(second["metadata"]["name"]))
        rest = list(events(answer))

    print(f"{len(begun)} events of one router, {len(rest)} of the other")  # noqa: T201 -- the figures
    assert [int(number) for number, _ in begun + rest] == list(range(1, len(begun + rest) + 1))
    assert rest[-1][1] == "[DONE]"
    assert len(begun + rest) > TOKENS


def events(answer: httpx.Response) -> Iterator[tuple[str, str]]:
    """Yield number and data of a stream's events."""
    number = ""
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if name == "id":
            number = value
        elif name == "data":
            yield number, value
