"""An operator that a test runs against a real API server."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from api_proxy import ApiProxy
from kit.cluster import Cluster
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


@pytest.fixture
def proxy(cluster: Cluster, tmp_path: Path) -> Iterator[ApiProxy]:
    """A proxy before the API server, which breaks on command."""
    with ApiProxy(cluster.plan, tmp_path) as found:
        yield found
