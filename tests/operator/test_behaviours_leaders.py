"""Two operators with a lease, as real processes: one works, whatever becomes of the other."""

import signal
import time
from pathlib import Path

import pytest

from kit.cluster import Cluster
from kit.processes import wait_for
from operating import World
from operator_process import OperatorProcess, running
from tiergarten_operator.facts import DEPLOYMENT, TIER

TAKE_OVER_SECONDS = 20
SLACK_SECONDS = 40  # of a machine with much else to do
LEASE_SECONDS = 15


def words(world: World) -> tuple[str, ...]:
    at = world.namespace
    return ("--namespace", at, "--leader-elect", "--lease-namespace", at)


def leads(operator: OperatorProcess) -> None:
    wait_for("a leader", lambda: operator.leads, TAKE_OVER_SECONDS + SLACK_SECONDS)


@pytest.mark.timeout(180)
def test_the_second_operator_takes_over_when_the_leader_is_killed(
    cluster: Cluster, world: World, tmp_path: Path
) -> None:
    world.models()
    world.tier("q4")
    with running(cluster, tmp_path, *words(world)) as first:
        leads(first)
        world.wait_for_child("Deployment/q4")
        with running(cluster, tmp_path, *words(world)) as second:
            assert not second.leads
            first.process.kill()
            first.process.wait(10)
            began = time.monotonic()
            leads(second)
            assert time.monotonic() - began < TAKE_OVER_SECONDS + SLACK_SECONDS
            scaled(world, 3)


@pytest.mark.timeout(180)
def test_a_frozen_leader_that_wakes_writes_nothing_and_ends(
    cluster: Cluster, world: World, tmp_path: Path
) -> None:
    world.models()
    world.tier("q4")
    with running(cluster, tmp_path, *words(world)) as first:
        leads(first)
        world.wait_for_child("Deployment/q4")
        world.wait_for_reason("q4", "Accepted", "Valid")
        first.process.send_signal(signal.SIGSTOP)
        with running(cluster, tmp_path, *words(world)) as second:
            leads(second)
            scaled(world, 3)
            before = world.there(DEPLOYMENT, "q4")["metadata"]["resourceVersion"]
            # What it will see first is a change that it would have to answer with a write.
            second.process.send_signal(signal.SIGSTOP)
            world.change(TIER, "q4", {"spec": {"replicas": 4}})
            first.process.send_signal(signal.SIGCONT)
            assert first.process.wait(30) == 1
            assert world.there(DEPLOYMENT, "q4")["metadata"]["resourceVersion"] == before
            second.process.send_signal(signal.SIGCONT)

    assert '"event": "lease_lost"' in first.log.read_text()


def test_a_leader_that_ends_well_leaves_the_lease_to_the_next_at_once(
    cluster: Cluster, world: World, tmp_path: Path
) -> None:
    with running(cluster, tmp_path, *words(world)) as first:
        leads(first)
        with running(cluster, tmp_path, *words(world)) as second:
            first.process.terminate()
            assert first.process.wait(30) == 0
            began = time.monotonic()
            leads(second)
            assert time.monotonic() - began < LEASE_SECONDS - 3


def scaled(world: World, replicas: int) -> None:
    world.change(TIER, "q4", {"spec": {"replicas": replicas}})

    def there() -> bool:
        return bool(world.there(DEPLOYMENT, "q4")["spec"]["replicas"] == replicas)

    wait_for(f"{replicas} replicas", there, SLACK_SECONDS)
