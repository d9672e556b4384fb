"""A source of the cluster that a test runs against a real API server, and what it has published."""

import asyncio
import contextlib
import copy
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from kit import api
from kit.cluster import Cluster
from kit.errors import Missing
from routing import QUICK, free_port
from tiergarten_router import app
from tiergarten_router.core.snapshot import Endpoint, Snapshot, Tier
from tiergarten_router.settings import Settings
from tiergarten_router.sources.kube import login, source
from tiergarten_router.sources.kube.login import Login
from tiergarten_router.sources.kube.reflector import Bounds
from tiergarten_router.sources.kube.source import KubeSource

Manifest = dict[str, Any]
SECONDS = 40
RULES = Path(__file__).parents[2] / "charts" / "tiergarten" / "files" / "router-rules.yaml"
GROUPS = {
    "ModelTier": "apis/tiergarten.dev/v1alpha1",
    "TierRoute": "apis/tiergarten.dev/v1alpha1",
    "EndpointSlice": "apis/discovery.k8s.io/v1",
    "Role": "apis/rbac.authorization.k8s.io/v1",
    "RoleBinding": "apis/rbac.authorization.k8s.io/v1",
    "ServiceAccount": "api/v1",
}


@dataclass
class Followed:
    """What a source has published so far.

    Attributes:
        source: The source.
        snapshots: All snapshots, oldest first.
    """

    source: KubeSource
    snapshots: list[Snapshot] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def publish(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
        self._news.set()

    @property
    def snapshot(self) -> Snapshot:
        return self.snapshots[-1]

    @property
    def tiers(self) -> dict[str, Tier]:
        return {tier.name: tier for tier in self.snapshot.tiers}

    def endpoints(self, tier: str = "q4") -> dict[str, Endpoint]:
        found = self.tiers.get(tier)
        return {endpoint.id: endpoint for endpoint in found.endpoints} if found else {}

    def states(self, tier: str = "q4") -> dict[str, str]:
        return {name: endpoint.state.value for name, endpoint in self.endpoints(tier).items()}

    async def until(self, check: Callable[[], object], seconds: float = SECONDS) -> None:
        """Wait until something holds of what was published."""
        async with asyncio.timeout(seconds):
            while not (self.snapshots and check()):
                self._news.clear()
                await self._news.wait()

    async def until_standing(self, check: Callable[[], object], seconds: float = SECONDS) -> None:
        """Wait until something holds of the source that nothing is published about."""
        async with asyncio.timeout(seconds):
            while not check():  # noqa: ASYNC110 -- a look at another task's state
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def following(
    account: Login, *namespaces: str, api_key: str = "", bounds: Bounds | None = None
) -> AsyncIterator[Followed]:
    """Run a source while a block runs."""
    clock = asyncio.get_running_loop().time
    served = source.scope(namespaces, account, api_key)
    followed = Followed(KubeSource(account, served, clock, bounds or Bounds()))
    task = asyncio.create_task(followed.source.run(followed.publish))
    try:
        yield followed
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Place:
    """A namespace of a real API server, as users and controllers write to it."""

    def __init__(self, server: httpx.Client, namespace: str) -> None:
        self.server, self.namespace = server, namespace

    def path(self, kind: str, name: str = "") -> str:
        plural = f"{kind.lower()}s"
        where = f"/{GROUPS[kind]}/namespaces/{self.namespace}/{plural}"
        return f"{where}/{name}" if name else where

    def put(self, manifest: Manifest) -> Manifest:
        """Make an object, or make it as it says."""
        body = copy.deepcopy(manifest)
        path = self.path(body["kind"])
        answer = self.server.post(path, json=body)
        if answer.status_code == 409:
            path = self.path(body["kind"], body["metadata"]["name"])
            live = self.server.get(path).raise_for_status().json()
            body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
            answer = self.server.put(path, json=body)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def status(self, name: str, status: Manifest) -> None:
        """Write a tier's status, as the operator does."""
        path = f"{self.path('ModelTier', name)}/status"
        answer = api.merge(self.server, path, {"status": status}, manager="operator")
        assert answer.is_success, answer.text

    def delete(self, kind: str, name: str) -> None:
        answer = self.server.delete(self.path(kind, name))
        assert answer.is_success, answer.text

    def account(self, name: str = "router", rules: list[Manifest] | None = None) -> None:
        """Make a service account that may what the chart's role says, or what `rules` say."""
        rules = yaml.safe_load(RULES.read_text()) if rules is None else rules
        self.put({"kind": "ServiceAccount", "metadata": {"name": name}})
        self.put({"kind": "Role", "metadata": {"name": name}, "rules": rules})
        group = "rbac.authorization.k8s.io"
        subject = {"kind": "ServiceAccount", "name": name, "namespace": self.namespace}
        self.put(
            {
                "kind": "RoleBinding",
                "metadata": {"name": name},
                "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
                "subjects": [subject],
            }
        )


def administrator(cluster: Cluster) -> Login:
    """Return the administrator's login."""
    return login.find(str(cluster.kubeconfig), {})


@contextlib.asynccontextmanager
async def serving(
    account: Login, *namespaces: str, bounds: Bounds | None = None, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """Run a router in front of a cluster, and yield a client of it."""
    clock = asyncio.get_running_loop().time
    cluster = KubeSource(account, source.scope(namespaces, account), clock, bounds or Bounds())
    port, up, ended = free_port(), asyncio.Event(), asyncio.Event()
    server = asyncio.create_task(
        app.serve(
            Settings(**(QUICK | settings)),
            cluster,
            host="127.0.0.1",
            port=port,
            announce=up.set,
            ended=ended,
            standing=cluster.standing,
        )
    )
    try:
        async with asyncio.timeout(SECONDS):
            await up.wait()
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as client:
            yield client
    finally:
        ended.set()
        await server


async def until(check: Callable[[], Awaitable[object]], seconds: float = SECONDS) -> None:
    """Wait until something holds that must be asked for."""
    async with asyncio.timeout(seconds):
        while not await check():  # noqa: ASYNC110 -- it is asked over HTTP
            await asyncio.sleep(0.05)


def own_address() -> str:
    """Return an address of this machine that is not loopback, which no EndpointSlice may hold.

    Raises:
        Missing: It has none.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent; it only asks for the route
        except OSError as error:
            raise Missing("a network interface other than loopback") from error
        return str(probe.getsockname()[0])
