"""The bench runs: a short round of every scenario, with every answer right."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parts import missing

BENCH = Path(__file__).with_name("bench.py")


@pytest.mark.timeout(120)
def test_a_short_run_prints_the_ratios() -> None:
    for tool in ("cc", "nginx", "taskset"):
        if shutil.which(tool) is None:
            missing(tool)

    done = subprocess.run(
        [sys.executable, str(BENCH), "--rounds", "1", "--seconds", "0.3", "--costs"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "non-streamed query" in done.stdout
    assert done.stdout.count("<=") == 4
