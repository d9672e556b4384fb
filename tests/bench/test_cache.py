"""The bench of the cache runs, and every repeat of its workload hits."""

import re
import subprocess
import sys
from pathlib import Path

from redises import program

BENCH = Path(__file__).with_name("cache.py")


def test_a_short_run_prints_its_figures() -> None:
    assert program()  # skipped without a Redis server

    done = subprocess.run(
        [sys.executable, str(BENCH), "--count", "64"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    hits = re.search(r"Zipf.*hits +([\d.]+) += (\d+)", done.stdout)
    assert hits
    assert float(hits[1]) == int(hits[2])
    assert len(done.stdout.splitlines()) == 8
