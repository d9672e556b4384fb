"""An operator that a test runs against a real API server."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import nodes
from api_proxy import ApiProxy
from hubs import Hubs
from kit import debian, fixtures, images, namespaces
from kit.cluster import Cluster
from kit.fixtures import Clusters
from nodes import NodeWorld
from operating import SETTINGS, Running, World
from tiergarten_operator.app import Options
from tiergarten_operator.settings import Settings


@pytest.fixture
def world(cluster: Cluster, namespace: str, tiers_known: None) -> World:  # noqa: ARG001 -- the definitions must be there
    """The test's namespace, with verbs to change and look at it."""
    return World(cluster.api, namespace)


@pytest.fixture
def operator(cluster: Cluster, namespace: str) -> Callable[..., Any]:
    """Run an operator for the test's namespace while a block runs."""

    @contextlib.contextmanager
    def run(
        *,
        kill_after: int | None = None,
        settings: Settings = SETTINGS,
        kubeconfig: Path | None = None,
        wait: bool = True,
        **options: Any,
    ) -> Iterator[Running]:
        wanted = Options(**{"namespaces": (namespace,), **options})
        running = Running(kubeconfig or cluster.kubeconfig, wanted, settings, kill_after)
        running.start(wait=wait)
        try:
            yield running
        finally:
            running.stop()

    return run


@pytest.fixture(scope="module")
def node_settings() -> dict[str, Any]:
    """What a module's operator has otherwise; modules override it."""
    return {}


@pytest.fixture(scope="module")
def node(clusters: Clusters, node_settings: dict[str, Any]) -> Iterator[NodeWorld]:
    """A namespace on a real node with its operator, for all tests of a module.

    A module starts its tiers side by side, and its tests wait for what becomes of each.
    """
    cluster = clusters.at(3)
    debian.layer()
    with fixtures.turn(cluster, alone=False):
        clusters.install_crds(cluster)
        settings = nodes.settings(partial(images.load, cluster), **node_settings)
        namespace = namespaces.make(cluster)
        world = NodeWorld(cluster, namespace)
        running = Running(cluster.kubeconfig, Options(namespaces=(namespace,)), settings, None)
        running.start()
    try:
        yield world
    finally:
        world.remove()  # while the operator runs, for finalizers are its own
        running.stop()


@pytest.fixture(scope="module")
def hubs(clusters: Clusters) -> Iterator[Hubs]:
    """Model hubs that pods reach."""
    with Hubs(clusters.at(3).host_address) as found:
        yield found


@pytest.fixture
def proxy(cluster: Cluster, tmp_path: Path) -> Iterator[ApiProxy]:
    """A proxy before the API server, which breaks on command."""
    with ApiProxy(cluster.plan, tmp_path) as found:
        yield found
