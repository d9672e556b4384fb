"""Programs are known by pid and birth, and ended the same way."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kit.processes import Process, Stuck, children, program, spawn, this_process, wait_for

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def sleeper(log: Path) -> Iterator[Process]:
    process = spawn(["sleep", "60"], log)
    yield process
    process.kill()


def state(process: Process) -> str:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_runs_until_it_is_ended(sleeper: Process) -> None:
    assert sleeper.alive

    sleeper.end(grace_seconds=5)

    assert not sleeper.alive


def test_does_not_touch_a_later_user_of_the_pid(sleeper: Process) -> None:
    former = replace(sleeper, born="1")

    former.kill()

    assert not former.alive
    assert sleeper.alive


def test_kills_what_does_not_end_when_asked(log: Path) -> None:
    stubborn = spawn(["sh", "-c", STUBBORN], log)
    wait_for("the trap", lambda: "ready" in log.read_text(), 5)

    stubborn.end(grace_seconds=0.2)

    assert not stubborn.alive


def test_ends_a_frozen_program(sleeper: Process) -> None:
    sleeper.signal(signal.SIGSTOP)
    wait_for("the program to freeze", lambda: state(sleeper) == "T", 5)
    assert sleeper.alive

    sleeper.end(grace_seconds=5)

    assert not sleeper.alive


def test_follows_the_child_of_a_program_that_forks(log: Path) -> None:
    inner = spawn(["sh", "-c", "sleep 60; true"], log, forks=True)

    assert program(inner.pid).endswith("sleep")
    assert inner.pid in children(inner.parent)

    inner.kill()
    assert not inner.alive


def test_says_so_when_a_program_that_forks_ends_at_once(log: Path) -> None:
    with pytest.raises(Stuck, match="false ended at once"):
        spawn(["false"], log, forks=True)


def test_writes_output_and_errors_to_the_log(log: Path) -> None:
    process = spawn(["sh", "-c", "echo out; echo err >&2"], log, {"PATH": "/usr/bin:/bin"})

    wait_for("it to end", lambda: not process.alive, 5)

    assert log.read_text() == "out\nerr\n"


def test_gives_up_waiting() -> None:
    with pytest.raises(Stuck, match="waiting for the moon"):
        wait_for("the moon", lambda: False, 0.1)


def test_knows_itself() -> None:
    assert this_process().alive
