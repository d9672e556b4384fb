"""Tests that ask for a cluster get one, or are skipped with the reason."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kit import commands, machine
from kit.cluster import Cluster
from kit.errors import Failed

ASKS = "def test_asks(cluster): assert cluster.api.get('/readyz').is_success\n"
BREAKS = "def test_breaks(cluster, namespace): cluster.freeze('etcd')\n"
SHARES = """\
import pytest
@pytest.mark.parametrize("n", range(4))
def test_shares(cluster, namespace, n, worker_id):
    with open("seen", "a") as seen:
        print(worker_id, cluster.kubeconfig, file=seen)
"""
TESTS = Path(__file__).parents[1]
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run pytest on the text of a test file, with additions to the environment."""

    def run(text: str, *words: str, **env: str) -> str:
        (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p kit.fixtures -ra\n")
        (tmp_path / "test_it.py").write_text(text)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:asyncio"]
        paths = f"{TESTS / 'cluster'}:{TESTS / 'faults'}"
        settings = {"PYTHONPATH": paths, "CI": "", "KUBECONFIG_TEST": ""} | env
        return commands.run([*command, *words], folder=tmp_path, env=settings)

    return run


def test_is_skipped_with_the_reason_where_something_is_missing(run: Run) -> None:
    said = run(ASKS, PATH="/nowhere")

    assert "1 skipped" in said
    assert "openssl, for certificates is not here" in said


def test_fails_where_ci_promises_that_all_is_there(run: Run) -> None:
    with pytest.raises(Failed, match="openssl, for certificates is not here"):
        run(ASKS, PATH="/nowhere", CI="true")


@pytest.mark.level(2)
def test_a_cluster_that_is_there_is_used(cluster: Cluster, run: Run) -> None:
    said = run(ASKS + BREAKS, KUBECONFIG_TEST=str(cluster.kubeconfig))

    assert "1 passed, 1 skipped" in said
    assert "KUBECONFIG_TEST, is not here" in said
    assert cluster.runs("etcd")


def test_workers_share_one_cluster(run: Run, tmp_path: Path) -> None:
    machine.prepare(1)

    run(SHARES, "-n", "2")

    seen = {tuple(line.split()) for line in (tmp_path / "seen").read_text().splitlines()}
    assert {worker for worker, _ in seen} == {"gw0", "gw1"}
    assert len({kubeconfig for _, kubeconfig in seen}) == 1
    assert not Path(seen.pop()[1]).exists()
