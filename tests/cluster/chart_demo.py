"""`make cluster-demo`: the chart in the test node, the example tiers on it, and the demo's tour.

Everything is real: images that the kit packs, the operator, routers behind their Service, and
llama.cpp in pods, with the small models of `make demo` in a claim. The tour leaves out what kills
processes, which the tests of faults do in a cluster.
"""

import asyncio
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import httpx
import yaml
from rich.console import Console

from kit import api, crds, images
from kit.cluster import Cluster
from kit.helm import Helm
from kit.namespaces import NAMESPACES
from kit.processes import Stuck, wait_for
from tiergarten_router.cli import materials, queries, results, tour
from tiergarten_router.cli.tour import Kind, Result, Step

RELEASE: Final = "tiergarten"
CLAIM: Final = "models"
TIERS: Final = "/apis/tiergarten.dev/v1alpha1/namespaces/{}/{}s"
RESTRICTED: Final = {"pod-security.kubernetes.io/enforce": "restricted"}
READY_SECONDS: Final = 240.0
QUERY_SECONDS: Final = 60.0
WIDTH: Final = 160  # of the table where no terminal says how wide it is
BY_KILLING: Final = frozenset({"q2 killed", "q2 is back"})


def values() -> dict[str, Any]:
    """Return the chart's values for the images that the kit packs.

    Their tag is always the same, so an annotation tells pods of new code from those of old.
    """
    named = {}
    for name in images.RECIPES:
        repository, _, tag = images.reference(name).rpartition(":")
        named[name] = {"repository": repository, "tag": tag}
    for name in ("operator", "router"):
        named[name]["pullPolicy"] = "Never"
    pods = {"podAnnotations": {"tiergarten.dev/code": images.code_hash()}}
    return {"images": named | {"tierPullPolicy": "Never"}, "operator": pods, "router": pods}


def steps() -> Sequence[Step]:
    """Return the steps of the tour that a cluster can go through.

    Each router has a cache of its own, so what it says is left open.
    """
    return [replace(it, cache=frozenset()) for it in tour.STEPS if it.title not in BY_KILLING]


class Demo:
    """The chart in a namespace of a cluster.

    Args:
        cluster: A cluster with a node.
        namespace: Where all goes; it must be there.
        say: Told what happens, a line at a time.
        seconds: How long each kind of thing may take to become ready.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        say: Callable[[str], object],
        seconds: float = READY_SECONDS,
    ) -> None:
        self._cluster, self._namespace, self._say = cluster, namespace, say
        self._seconds = seconds

    def run(self) -> list[Result]:
        """Install all, wait until it serves, and return what the tour saw.

        Raises:
            Stuck: Something did not become ready; the message says what it says of itself.
        """
        self.install()
        self.apply_tiers()
        self.wait()
        return asyncio.run(self._tour())

    def install(self) -> None:
        """Load the images into the node and install the chart."""
        for name in images.RECIPES:
            self._say(f"Loading the image {images.load(self._cluster, name)}")
        crds.install(self._cluster.api)
        self._say(f"Installing the chart into the namespace {self._namespace}")
        Helm(self._cluster.kubeconfig).install(RELEASE, self._namespace, values())

    def apply_tiers(self) -> None:
        """Fill the claim with models, unless it is there, and apply the example."""
        claim = f"{NAMESPACES}/{self._namespace}/persistentvolumeclaims/{CLAIM}"
        if not self._cluster.api.get(claim).is_success:
            self._say(f"Writing three small models into the claim {CLAIM}")
            with tempfile.TemporaryDirectory() as folder:
                materials.write(Path(folder))
                files = {path.name: path for path in Path(folder, "models").iterdir()}
                self._cluster.claim(self._namespace, CLAIM, files)
        for it in yaml.safe_load_all(materials.example()):
            path = TIERS.format(self._namespace, it["kind"].lower())
            named = f"{path}/{it['metadata']['name']}"
            api.apply(self._cluster.api, named, it, force=True).raise_for_status()
            self._say(f"Applied {it['kind']} {it['metadata']['name']}")

    def wait(self) -> None:
        """Wait until operator, tiers and routers are ready."""
        begin = perf_counter()
        for what, waiting in (
            ("deployments", self._deployments_waiting),
            ("tiers", self._tiers_waiting),
            ("routers", self._routers_waiting),
        ):
            self._until(what, waiting)
        self._say(f"Ready after {perf_counter() - begin:.1f} s.")

    def _until(self, what: str, waiting: Callable[[], list[str]]) -> None:
        said = ""

        def ready() -> bool:
            nonlocal said
            names = ", ".join(line.partition(":")[0] for line in waiting())
            if names not in ("", said):
                self._say(f"Waiting for {what}: {names}")
                said = names
            return not names

        try:
            wait_for(f"all {what} to be ready", ready, self._seconds)
        except Stuck as error:
            raise Stuck("\n".join([str(error), *waiting(), *self._pods()])) from error

    @property
    def url(self) -> str:
        """The URL of the router's Service."""
        path = f"{NAMESPACES}/{self._namespace}/services/{RELEASE}-router"
        spec = self._cluster.api.get(path).raise_for_status().json()["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    # -- what is not ready, a line each

    def _deployments_waiting(self) -> list[str]:
        path = f"/apis/apps/v1/namespaces/{self._namespace}/deployments"
        query = {"labelSelector": f"app.kubernetes.io/instance={RELEASE}"}
        found = self._cluster.api.get(path, params=query).raise_for_status().json()["items"]
        return [
            f"{it['metadata']['name']}: {it.get('status')}" for it in found if not _rolled_out(it)
        ]

    def _tiers_waiting(self) -> list[str]:
        path = TIERS.format(self._namespace, "modeltier")
        found = self._cluster.api.get(path).raise_for_status().json()["items"]
        return [
            f"{it['metadata']['name']}: {it.get('status')}"
            for it in found
            if not any(
                c["type"] == "Ready" and c["status"] == "True"
                for c in it.get("status", {}).get("conditions", ())
            )
        ]

    def _routers_waiting(self) -> list[str]:
        """Return the routers that do not count every replica as healthy yet, or have yet to end."""
        tiers = self._cluster.api.get(TIERS.format(self._namespace, "modeltier")).json()["items"]
        wanted = sum(it["spec"]["replicas"] for it in tiers)
        path = f"{NAMESPACES}/{self._namespace}/pods"
        query = {"labelSelector": "app.kubernetes.io/component=router"}
        pods = self._cluster.api.get(path, params=query).raise_for_status().json()["items"]
        told = []
        for it in pods:
            if "deletionTimestamp" in it["metadata"]:
                told.append(f"{it['metadata']['name']}: has yet to end")
            elif (known := _healthy(it["status"].get("podIP"))) < wanted:
                told.append(f"{it['metadata']['name']}: knows {known} of {wanted} replicas")
        return told

    def _pods(self) -> list[str]:
        """Return the state of each pod that is not ready, and the last words of its container."""
        path = f"{NAMESPACES}/{self._namespace}/pods"
        told = []
        for it in self._cluster.api.get(path).json()["items"]:
            states = it["status"].get("containerStatuses", [])
            if not all(state["ready"] for state in states) or not states:
                log = self._cluster.api.get(f"{path}/{it['metadata']['name']}/log?tailLines=5").text
                told.append(f"pod {it['metadata']['name']}: {it['status'].get('phase')} {log}")
        return told

    # -- the tour

    async def _tour(self) -> list[Result]:
        url = self.url
        self._say(f"Asking {url}")
        client = httpx.AsyncClient(base_url=url, timeout=QUERY_SECONDS, trust_env=False)
        async with client as http:
            return [await _step(http, step) for step in steps()]


def show(found: Sequence[Result], seconds: float, console: Console) -> int:
    """Show the tour, and return the exit code: 1 if anything was not as expected."""
    console.print(results.table(found))
    console.print(results.verdict(found, seconds), soft_wrap=True)
    return int(any(result.failures for result in found))


def main(cluster: Cluster) -> int:
    """Run the demo in a cluster, in a namespace that stays, and return the exit code."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    named = {"name": RELEASE, "labels": RESTRICTED}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": named}
    api.apply(cluster.api, f"{NAMESPACES}/{RELEASE}", body, force=True).raise_for_status()
    demo = Demo(cluster, RELEASE, lambda line: console.print(line, highlight=False))
    begin = perf_counter()
    try:
        found = demo.run()
    except Stuck as error:
        sys.stderr.write(f"{error}\n")
        return 1
    code = show(found, perf_counter() - begin, console)
    console.print(results.next_steps(demo.url), markup=False, highlight=False, soft_wrap=True)
    console.print(f"export KUBECONFIG={cluster.kubeconfig}  # make cluster-down ends it")
    return code


def _rolled_out(deployment: dict[str, Any]) -> bool:
    """Say whether all replicas of a Deployment are of its newest template, and available."""
    status, wanted = deployment.get("status", {}), deployment["spec"]["replicas"]
    counts = {status.get(f"{kind}eplicas", 0) for kind in ("r", "updatedR", "availableR")}
    seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    return seen and counts == {wanted}


def _healthy(address: str | None) -> int:
    """Return how many replicas a router at an address counts as healthy."""
    try:
        answer = httpx.get(f"http://{address}:8080/v1/tiers", timeout=2, trust_env=False)
    except httpx.HTTPError:
        return 0
    tiers = answer.json()["tiers"] if answer.is_success else ()
    return sum(replica["healthy"] for tier in tiers for replica in tier["replicas"])


async def _step(http: httpx.AsyncClient, step: Step) -> Result:
    if step.kind is Kind.BURST:
        return tour.judge(step, await queries.burst(http, step))
    ask = queries.chatted if step.kind is Kind.CHAT else queries.asked
    return tour.judge(step, [await ask(http, step)])
