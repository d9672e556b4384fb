"""The demo as a user runs it: a program, real llama.cpp, and nothing left of it."""

import contextlib
import os
import pty
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from routing import free_port
from tiergarten_router.cli import tour

pytestmark = pytest.mark.timeout(120)

SECONDS = 90
DEMO = (sys.executable, "-c", "from tiergarten_router.cli.main import main; main()", "demo")


@dataclass
class Place:
    """Where a demo writes, and what it is started with."""

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        return [*DEMO, "--folder", str(self.folder / "demo"), *arguments]

    def environ(self, **variables: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "ONCE"}
        return {**kept, "TMPDIR": str(self.folder / "tmp"), **variables}

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environ(**variables),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def left(self) -> list[str]:
        """Return what is left of a demo: processes that name the folder or stand in it, files."""
        found = [str(path) for path in (self.folder / "tmp").iterdir()]
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                told = (entry / "cmdline").read_bytes().decode(errors="replace")
                if str(self.folder) in f"{told} {(entry / 'cwd').readlink()}":
                    found.append(told)
        return found


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:  # short enough for Valkey's socket
        (Path(folder) / "tmp").mkdir()
        yield Place(Path(folder))


def until(demo: subprocess.Popen[str], words: str) -> str:
    """Return what a demo says up to a line with these words."""
    assert demo.stdout is not None
    said = ""
    for line in demo.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"no {words!r} in {said}")


def test_the_tour_goes_as_expected_and_leaves_nothing_behind(place: Place) -> None:
    began = time.monotonic()
    done = place.run("--port", str(free_port()), ONCE="1")

    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < 60
    assert f"PASSED: all {len(tour.STEPS)} steps went as expected" in done.stdout
    lines = done.stdout.splitlines()
    for step in tour.STEPS:
        (line,) = (line for line in lines if line.startswith(f"  {step.title}  "))
        assert line.rstrip().endswith("ok")
    words = (
        "q3 after q2",
        "q2 by cache",
        "q2-0 + q2-1",
        "404",
        "analysis",
        "Paris",
        "/v1/tiers",
        "/docs",
    )
    assert [word for word in words if word not in done.stdout] == []
    assert "Serving until" not in done.stdout
    assert place.left() == []


def test_a_tour_that_is_not_as_expected_exits_with_1(place: Place) -> None:
    # Nobody may wait for a slot, so half of the burst goes to the next tier.
    done = place.run("--port", str(free_port()), "--once", TIERGARTEN_QUEUE_PER_SLOT="0")

    assert done.returncode == 1, done.stdout + done.stderr
    assert f"FAILED: 1 of {len(tour.STEPS)} steps went otherwise than expected" in done.stdout
    assert "  burst of 8: tier q3, not q2" in done.stdout
    assert place.left() == []


def test_on_a_terminal_it_takes_the_next_free_port_and_serves_until_ctrl_c(place: Place) -> None:
    ours, its = pty.openpty()
    with socket.create_server(("127.0.0.1", free_port())) as taken, os.fdopen(ours, "rb") as screen:
        port = taken.getsockname()[1]
        command = place.command("--port", str(port))
        environ = place.environ(TERM="xterm", COLUMNS="160")
        demo = subprocess.Popen(command, env=environ, stdout=its)
        os.close(its)
        seen = b""
        while b"Serving until Ctrl-C." not in seen:
            seen += os.read(screen.fileno(), 65_536)
        url = seen.decode().partition("curl ")[2].partition("/api/query")[0]

        answer = httpx.post(
            f"{url}/api/query", json={"query": "What is the capital of France?"}, trust_env=False
        )
        demo.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the end of a terminal whose program has ended
            while os.read(screen.fileno(), 65_536):
                pass
        code = demo.wait(SECONDS)

    assert f"http://127.0.0.1:{port}" != url
    assert answer.json()["model_tier"] == "q2"
    assert code == 0
    assert place.left() == []


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("Writing", signal.SIGTERM),
        ("q2: Loading", signal.SIGINT),
        ("Ready after", signal.SIGTERM),
    ],
    ids=["writing", "loading", "on tour"],
)
def test_a_signal_before_the_tour_s_end_ends_all(
    place: Place, words: str, number: signal.Signals
) -> None:
    with place.start("--port", str(free_port())) as demo:
        until(demo, words)
        demo.send_signal(number)
        _, said = demo.communicate(timeout=SECONDS)

    assert (demo.returncode, said) == (130, "")
    assert place.left() == []


def test_a_folder_that_cannot_be_written_to_is_said_in_a_line(place: Place) -> None:
    (place.folder / "demo").write_text("in the way")

    done = place.run()

    assert done.returncode == 2
    assert done.stderr == (
        f"--folder {place.folder / 'demo'}: Not a directory; name one that can be written to\n"
    )


def test_ports_that_are_all_taken_are_said_in_a_line(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 65_535)):
        done = place.run("--port", "65535")

    assert done.returncode == 2
    assert done.stderr == ("port 65535 and those after it are taken; choose another with --port\n")


def test_a_port_that_somebody_takes_meanwhile_is_said_in_a_line(place: Place) -> None:
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taker.bind(("127.0.0.1", 0))  # which is no obstacle yet
        port = taker.getsockname()[1]
        with place.start("--port", str(port)) as demo:
            until(demo, "Writing")
            taker.listen()
            _, said = demo.communicate(timeout=SECONDS)

    assert demo.returncode == 2
    assert f"port {port}" in said
    assert len(said.splitlines()) == 1
    assert place.left() == []


def test_a_setting_that_is_not_valid_is_said_in_a_line(place: Place) -> None:
    done = place.run(TIERGARTEN_QUEUE_SECONDS="soon")

    assert done.returncode == 2
    assert "TIERGARTEN_QUEUE_SECONDS=soon" in done.stderr
    assert len(done.stderr.splitlines()) == 1
