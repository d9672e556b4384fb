"""A namespace of a real API server for the tests of the cluster's source."""

import pytest

from following import Place
from kit.cluster import Cluster


@pytest.fixture
def place(cluster: Cluster, namespace: str, tiers_known: None) -> Place:  # noqa: ARG001 -- the definitions must be there
    """The test's namespace."""
    return Place(cluster.api, namespace)
