"""The fixtures by which tests ask for a cluster; a pytest plugin that `tests/conftest.py` names.

    @pytest.mark.level(3)
    def test_something(cluster: Cluster, namespace: str) -> None: ...

`cluster` is the one of the level that the mark names, 1 without a mark: started at the first test
that asks for it, healed after each, ended with the run. `KUBECONFIG_TEST` names a cluster to use
instead, `KUBEBUILDER_ASSETS` a folder with the programs for level 1. Under xdist the workers share
the clusters; a test that breaks parts says `level(n, alone=True)` and runs while no other does.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from kit import crds, debian, images, lifecycle, namespaces
from kit.cluster import Cluster
from kit.errors import Missing
from parts import missing

MARK = "level(n, alone=False): the least cluster that the test needs; alone: it breaks parts"
HIGHEST = 3


class Clusters:
    """The clusters of one run of pytest, each started when it is first asked for.

    Args:
        run: The run's name, which all xdist workers know it by.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._running: dict[int, Cluster] = {}
        self._missing: dict[int, Missing] = {}
        self._with_crds: set[Path] = set()

    def at(self, level: int) -> Cluster:
        """Return the cluster of a level.

        Raises:
            Missing: This machine cannot run it.
        """
        if level in self._missing:
            raise self._missing[level]
        if level not in self._running:
            try:
                self._running[level] = self._start(level)
            except Missing as error:
                self._missing[level] = error
                raise
        return self._running[level]

    def install_crds(self, cluster: Cluster) -> None:
        """Put the project's definitions into a cluster, unless this run did so before."""
        if cluster.kubeconfig not in self._with_crds:
            crds.install(cluster.api)
            self._with_crds.add(cluster.kubeconfig)

    def close(self) -> None:
        """End the clusters, or leave them to the workers that still use them."""
        for cluster in self._running.values():
            cluster.close()
            if cluster.owned:
                lifecycle.leave(cluster.plan.folder)

    def _start(self, level: int) -> Cluster:
        if given := os.environ.get("KUBECONFIG_TEST"):
            return Cluster(Path(given), HIGHEST)
        assets = os.environ.get("KUBEBUILDER_ASSETS") if level == 1 else None
        folder = lifecycle.CLUSTERS / f"run-{self._run}-{level}"
        return lifecycle.up(folder, level, Path(assets) if assets else None)


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest about the mark."""
    config.addinivalue_line("markers", MARK)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup() -> Generator[None, object, object]:
    """Let a fixture that finds something missing skip the test."""
    try:
        return (yield)
    except Missing as error:
        missing(str(error))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """Let a test that finds something missing skip itself."""
    try:
        return (yield)
    except Missing as error:
        missing(str(error))


@pytest.fixture(scope="session")
def clusters() -> Iterator[Clusters]:
    """The clusters of this run, by level."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")[:8] or str(os.getpid())
    with contextlib.closing(Clusters(run)) as found:
        yield found


@pytest.fixture
def cluster(request: pytest.FixtureRequest, clusters: Clusters) -> Iterator[Cluster]:
    """The cluster of the level that the test's mark names, healed afterwards."""
    mark = request.node.get_closest_marker("level")
    found = clusters.at(mark.args[0] if mark else 1)
    with turn(found, alone=bool(mark and mark.kwargs.get("alone"))):
        yield found
        found.heal()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own in its cluster."""
    name = namespaces.make(cluster)
    yield name
    cluster.heal()  # the test may have left the API server frozen
    namespaces.remove(cluster, name)


@pytest.fixture
def tiers_known(clusters: Clusters, cluster: Cluster) -> None:
    """ModelTier and TierRoute are known to the cluster."""
    clusters.install_crds(cluster)


@pytest.fixture
def node_image(cluster: Cluster) -> Callable[[str], str]:
    """Load one of the project's images into the cluster's node, and return its reference."""
    debian.layer()  # a minute, the first time, which no test's own time should pay for
    return lambda name: images.load(cluster, name)


@contextlib.contextmanager
def turn(cluster: Cluster, *, alone: bool) -> Iterator[None]:
    """Wait for the tests of other workers that must not run at the same time."""
    if not cluster.owned:
        yield
        return
    with (cluster.plan.folder / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
