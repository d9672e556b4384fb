"""The demo as a user runs it: a program, real llama.cpp, and nothing left of it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tiergarten_router.cli import tour

SECONDS = 90
DEMO = (sys.executable, "-c", "from tiergarten_router.cli.main import main; main()", "demo")


def processes_of(folder: Path) -> list[int]:
    """Return the pids of processes whose command line names a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in command:
            found.append(int(entry.name))
    return found


def test_the_tour_goes_as_expected_and_leaves_no_process_behind(tmp_path: Path) -> None:
    environ = {**os.environ, "ONCE": "1"}
    command = [*DEMO, "--folder", str(tmp_path), "--port", "18080"]

    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=SECONDS, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"All {len(tour.STEPS)} queries went as expected." in done.stdout
    assert "q3 after q2" in done.stdout  # the cheapest tier was killed, and the next one answered
    assert processes_of(tmp_path) == []


def test_a_tour_that_is_not_as_expected_exits_with_1(tmp_path: Path) -> None:
    tour.write(tmp_path)
    # The model of the cheapest tier answers in another one's name.
    (tmp_path / "models" / "large.gguf").unlink()
    (tmp_path / "models" / "large.gguf").symlink_to(tmp_path / "models" / "small.gguf")
    command = [*DEMO, "--folder", str(tmp_path), "--port", "18080", "--once"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT as expected: hard question: no 'large' in the answer" in done.stdout
    assert processes_of(tmp_path) == []


def test_sigterm_during_the_start_ends_every_process(tmp_path: Path) -> None:
    command = [*DEMO, "--folder", str(tmp_path), "--port", "18080"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("q"):  # the first tier's first state
                break
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=SECONDS)

    end = time.monotonic() + SECONDS  # the kernel ends the children of a program that was killed
    while processes_of(tmp_path):
        assert time.monotonic() < end, processes_of(tmp_path)
        time.sleep(0.02)
