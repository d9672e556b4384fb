"""`make cluster-demo`: the chart on a real node, and the tour through the router's Service."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from io import StringIO

import httpx
import pytest
from rich.console import Console

import chart_demo
from kit import api, images
from kit.cluster import Cluster
from kit.helm import Helm
from kit.namespaces import NAMESPACES
from kit.processes import Stuck
from tiergarten_router.cli import queries, tour
from tiergarten_router.cli.tour import Kind, Seen, Step

SECONDS = 600
CLIENTS = 3


@pytest.mark.level(3)
@pytest.mark.timeout(SECONDS)
@pytest.mark.usefixtures("tiers_known", "helm")
def test_the_chart_serves_the_tour_and_an_upgrade_fails_no_query(
    cluster: Cluster, namespace: str, node_image: Callable[[str], str]
) -> None:
    assert node_image("operator") == images.reference("operator")
    labels = {"metadata": {"labels": chart_demo.RESTRICTED}}
    api.merge(cluster.api, f"{NAMESPACES}/{namespace}", labels).raise_for_status()
    out, said = StringIO(), list[str]()
    demo = chart_demo.Demo(cluster, namespace, said.append, SECONDS / 4)

    found = demo.run()

    code = chart_demo.show(found, 1.0, Console(file=out, width=chart_demo.WIDTH))
    assert code == 0, out.getvalue()
    assert "PASSED" in out.getvalue()
    assert {"q2", "q3", "q4"} == {result.seen.tier for result in found} - {""}
    assert any(line.startswith("Ready after") for line in said)

    before = routers(cluster, namespace)
    values = chart_demo.values() | {"router": {"podAnnotations": {"example.com/again": "1"}}}

    def upgrade() -> None:
        Helm(cluster.kubeconfig).install(chart_demo.RELEASE, namespace, values)
        demo.wait()

    answers = asyncio.run(asked_during(demo.url, upgrade))
    assert len(answers) > CLIENTS
    assert set(answers) == {"200"}
    assert not routers(cluster, namespace) & before


def routers(cluster: Cluster, namespace: str) -> set[str]:
    """Return the names of the router's pods, those that end too."""
    query = {"labelSelector": "app.kubernetes.io/component=router"}
    found = cluster.api.get(f"{NAMESPACES}/{namespace}/pods", params=query).raise_for_status()
    return {it["metadata"]["name"] for it in found.json()["items"]}


async def asked_during(url: str, work: Callable[[], None]) -> list[str]:
    """Ask over ever new connections while a function runs, and return what came of each."""
    working = asyncio.create_task(asyncio.to_thread(work))
    answers: list[str] = []

    async def client(number: int) -> None:
        while not working.done():
            question = f"{number} {len(answers)}: what does a router do?"
            async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
                try:
                    answer = await http.post(queries.QUERY, json={"query": question})
                    answers.append(str(answer.status_code))
                except httpx.HTTPError as error:
                    answers.append(repr(error))

    await asyncio.gather(working, *map(client, range(CLIENTS)))
    return answers


@pytest.mark.usefixtures("tiers_known")
def test_what_does_not_become_ready_is_named(
    cluster: Cluster, namespace: str, installer: Helm
) -> None:
    installer.install(chart_demo.RELEASE, namespace, chart_demo.values())
    demo = chart_demo.Demo(cluster, namespace, print, seconds=0.2)

    with pytest.raises(Stuck, match=r"all deployments to be ready\n(.*\n)*tiergarten-router: "):
        demo.wait()


def test_it_fails_when_an_answer_is_not_as_expected() -> None:
    step = Step("easy", "Hello?", "q2", "the cheapest is enough")
    seen = Seen(HTTPStatus.OK, "Hello.", tier="q4")
    out = StringIO()

    code = chart_demo.show([tour.judge(step, [seen])], 1.0, Console(file=out, width=160))

    assert code == 1
    assert "tier q4, not q2" in out.getvalue()


def test_the_tour_leaves_out_what_kills_processes_and_nothing_else() -> None:
    kept = {step.title for step in chart_demo.steps()}

    left_out = [step for step in tour.STEPS if step.title not in kept]

    assert {step.title for step in left_out} == chart_demo.BY_KILLING
    assert all(step.kind is not Kind.KILLED for step in chart_demo.steps())
