"""How tests run a bench of a whole cluster: as its users do, in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kit.cluster import Cluster

Bench = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def run_bench(
    cluster: Cluster,  # noqa: ARG001 -- skips where no cluster can be started
    tmp_path: Path,
) -> Bench:
    """Run a bench by its name with some arguments; return its figures and what it printed."""

    def run(name: str, *arguments: str, seconds: float) -> tuple[dict[str, Any], str]:
        program, figures = Path(__file__).with_name(f"{name}.py"), tmp_path / "figures.json"
        done = subprocess.run(
            [sys.executable, str(program), *arguments, "--json", str(figures)],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(figures.read_text()), done.stdout

    return run
