"""The chart, rendered by helm or installed by it."""

from collections.abc import Iterator
from typing import Any

import pytest

from charting import Manifest, Rendered
from kit import namespaces
from kit.build import NoGo
from kit.cluster import Cluster
from kit.errors import Failed
from kit.helm import Helm
from parts import missing


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Helm without a cluster."""
    found = Helm()
    try:
        found.run("version")  # builds it, the first time
    except (Failed, NoGo) as error:
        missing(f"helm: {error}: it")
    return found


@pytest.fixture(scope="session")
def rendered(helm: Helm) -> Rendered:
    """Return the objects of the release `tg`, in a namespace, with some values."""

    def render(namespace: str = "llm", values: dict[str, Any] | None = None) -> list[Manifest]:
        return helm.template("tg", namespace, values)

    return render


@pytest.fixture
def installer(helm: Helm, cluster: Cluster) -> Helm:  # noqa: ARG001 -- it must be built
    """Helm with the test's cluster."""
    return Helm(cluster.kubeconfig)


@pytest.fixture
def other_namespace(cluster: Cluster) -> Iterator[str]:
    """A second namespace of the test's own."""
    name = namespaces.make(cluster)
    yield name
    namespaces.remove(cluster, name)
