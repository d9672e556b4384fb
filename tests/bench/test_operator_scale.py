"""Many tiers: all is applied once, and neither a second pass nor a new operator writes anything."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kit.cluster import Cluster

BENCH = Path(__file__).with_name("operator_scale.py")
TIERS = 200
REST = ("--churn", "2", "--json")


@pytest.mark.timeout(400)
def test_a_second_operator_writes_nothing_to_hundreds_of_tiers(
    cluster: Cluster,  # noqa: ARG001 -- skips where no cluster can be started
    tmp_path: Path,
) -> None:
    figures = tmp_path / "figures.json"

    done = subprocess.run(
        [sys.executable, str(BENCH), "--tiers", str(TIERS), *REST, str(figures)],
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert found["second_pass_writes"] == 0
    assert found["writes_per_tier"] == pytest.approx(5, abs=0.5)
    assert found["edits"] > 10
    assert found["behind"] == 0
    assert max(found["mib"], found["mib_after"]) < 200
    assert "from cold to all children" in done.stdout
