"""Many tiers and endpoints: the router knows them all, and each change."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kit.cluster import Cluster

BENCH = Path(__file__).with_name("router_scale.py")
ARGUMENTS = ("--tiers", "100", "--endpoints", "3", "--churn", "2", "--json")


@pytest.mark.timeout(200)
def test_a_router_follows_hundreds_of_endpoints(
    cluster: Cluster,  # noqa: ARG001 -- skips where no cluster can be started
    tmp_path: Path,
) -> None:
    figures = tmp_path / "figures.json"

    done = subprocess.run(
        [sys.executable, str(BENCH), *ARGUMENTS, str(figures)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert found["endpoints"] == 300
    assert found["changes"] > 10
    assert "one endpoint not ready" in done.stdout
