"""Clusters come and go, and leave nothing behind, not even when the run that used one crashed."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit import build, lifecycle, machine, sandbox
from kit.cluster import Cluster
from kit.errors import Failed, Missing
from kit.processes import wait_for

NETWORKS = Path("/sys/class/net")
STARTS_ONE = """\
import sys, time
from pathlib import Path
from kit import lifecycle

lifecycle.up(Path(sys.argv[1]), int(sys.argv[2]))
print("up", flush=True)
time.sleep(300)
"""
Up = Callable[..., Cluster]


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """Start a cluster as `lifecycle.up` does, and close its client at the end."""
    machine.prepare(1)
    build.kt()  # minutes, the first time, which no test's own time should pay for
    with contextlib.ExitStack() as opened:
        yield lambda *given: opened.enter_context(lifecycle.up(*given))


@pytest.fixture
def folder() -> Iterator[Path]:
    made = lifecycle.CLUSTERS / f"own-{os.getpid()}"
    yield made
    lifecycle.down(made)


@pytest.fixture(scope="module")
def own(up: Up) -> Iterator[Cluster]:
    """A cluster of level 1 for the tests below that do not end it."""
    folder = lifecycle.CLUSTERS / f"shared-{os.getpid()}"
    yield up(folder, 1)
    lifecycle.down(folder)


@contextlib.contextmanager
def other_run(folder: Path, level: int) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that uses a cluster, for as long as the block does not end it."""
    command = [sys.executable, "-c", STARTS_ONE, str(folder), str(level)]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as run:
        assert run.stdout
        assert run.stdout.readline() == b"up\n"
        try:
            yield run
        finally:
            run.kill()


def left_behind(folder: Path) -> list[str]:
    """Return all that still exists of the cluster of a folder."""
    found = [str(folder)] if folder.exists() else []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes()
            if os.fsencode(folder) in words or folder.name in (process / "cgroup").read_text():
                found.append(f"process {words!r}")
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [line for line in mounts if str(folder) in line]
    return found + [str(f) for f in sandbox.CGROUPS.glob(f"*/kt-{folder.name}")]


@pytest.mark.parametrize("level", [1, 3])
def test_leaves_nothing_behind(up: Up, folder: Path, level: int) -> None:
    before = sorted(NETWORKS.iterdir())
    cluster = up(folder, level)
    assert len(left_behind(folder)) > len(cluster.plan.parts)

    lifecycle.leave(folder)

    assert left_behind(folder) == []
    assert sorted(NETWORKS.iterdir()) == before


def test_cleans_up_after_a_run_that_crashed(up: Up, folder: Path) -> None:
    machine.prepare(3)
    crashed = folder.with_name(f"{folder.name}-crashed")
    with other_run(crashed, 3) as run:
        run.send_signal(signal.SIGKILL)
    assert left_behind(crashed)

    up(folder, 1)

    assert left_behind(crashed) == []


def test_the_last_user_ends_it(up: Up, folder: Path) -> None:
    up(folder, 1)
    with other_run(folder, 1) as other:
        lifecycle.leave(folder)

        assert lifecycle.find(folder)
        other.kill()
        wait_for("the other run to end", lambda: other.poll() is not None, 5)
    lifecycle.leave(folder)
    assert left_behind(folder) == []


def test_may_use_programs_of_a_folder(up: Up, folder: Path, tmp_path: Path) -> None:
    machine.prepare(1)
    for part in ("etcd", "kube-apiserver"):
        (tmp_path / part).write_text(f'#!/bin/sh\nexec {build.kt()} {part} "$@"\n')
        (tmp_path / part).chmod(0o755)

    cluster = up(folder, 1, tmp_path)

    assert cluster.api.get("/readyz").is_success


def test_a_cluster_that_runs_is_used_again(up: Up, own: Cluster) -> None:
    assert up(own.plan.folder, own.level).plan == own.plan


def test_a_cluster_is_found_while_all_its_parts_run(own: Cluster) -> None:
    found = lifecycle.find(own.plan.folder)
    assert found
    assert found.plan == own.plan

    own.kill("etcd")

    assert lifecycle.find(own.plan.folder) is None
    own.heal()


def test_says_what_a_part_said_when_it_ended(own: Cluster) -> None:
    own.stop("kube-apiserver")
    key = own.plan.pki / "sa.pub"
    good = key.read_text()
    key.write_text("no key")

    with pytest.raises(Failed, match="kube-apiserver ended:\n"):
        own.start("kube-apiserver")

    key.write_text(good)
    own.heal()


def test_a_cluster_of_somebody_else_has_no_parts_to_break(own: Cluster) -> None:
    with Cluster(own.kubeconfig, 3) as theirs:
        theirs.heal()

        assert theirs.api.get("/readyz").is_success
        with pytest.raises(Missing, match="KUBECONFIG_TEST"):
            theirs.freeze("etcd")
