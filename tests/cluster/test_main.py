"""The command line starts, uses and ends a cluster by hand."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit import commands, lifecycle, machine
from kit.errors import Failed

PROGRAM = Path(__file__).parent


@pytest.fixture
def name() -> Iterator[str]:
    given = f"test-main-{os.getpid()}"
    yield given
    lifecycle.down(lifecycle.CLUSTERS / given)


def kit(name: str, *words: str) -> str:
    return commands.run([sys.executable, str(PROGRAM), "--name", name, *words])


def test_a_cluster_lasts_from_up_to_down(name: str) -> None:
    machine.prepare(1)

    said = kit(name, "up", "--level", "1")

    assert said.startswith("export KUBECONFIG=")
    status = kit(name, "status")
    assert "kube-apiserver            running\n" in status
    assert said in status
    kubeconfig = said.strip().partition("=")[2]
    assert kit(name, "exec", "sh", "-c", "echo $KUBECONFIG") == f"{kubeconfig}\n"
    kit(name, "down")
    assert not Path(kubeconfig).exists()


@pytest.mark.parametrize("words", [("status",), ("exec", "true"), ("load", "some.tar")])
def test_says_that_no_cluster_runs(name: str, words: tuple[str, ...]) -> None:
    with pytest.raises(Failed, match=r"no cluster runs|python tests/cluster up"):
        kit(name, *words)
