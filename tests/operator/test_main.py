"""The program: its settings, its endpoints, and its end."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from kit.cluster import Cluster
from kit.processes import wait_for
from operating import World
from tiergarten_operator import __main__ as program

COMMAND = [sys.executable, "-m", "tiergarten_operator"]


@contextlib.contextmanager
def running(cluster: Cluster, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the program, and yield it with the URL of its endpoints."""
    env = os.environ | {"TIERGARTEN_HTTP_PORT": "0", "TIERGARTEN_LOG_FORMAT": "json"}
    command = [*COMMAND, "--kubeconfig", str(cluster.kubeconfig), *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    try:
        assert process.stderr is not None
        found = None
        while found is None:
            line = process.stderr.readline()
            assert line, "it ended"
            found = re.search(r'"port": (\d+)', line)
        yield process, f"http://127.0.0.1:{found[1]}"
    finally:
        process.kill()
        process.communicate()


def test_serves_a_namespace_and_ends_well_on_sigterm(cluster: Cluster, world: World) -> None:
    world.models()
    world.tier("q4")

    with running(
        cluster,
        "--namespace",
        world.namespace,
        "--leader-elect",
        "--lease-namespace",
        world.namespace,
    ) as (process, url):
        wait_for("readiness", lambda: httpx.get(f"{url}/readyz").is_success, 20)
        world.wait_for_child("Deployment/q4")
        metrics = httpx.get(f"{url}/metrics").text
        health = httpx.get(f"{url}/healthz")
        process.send_signal(signal.SIGTERM)
        code = process.wait(20)

    assert (code, health.text) == (0, "ok\n")
    assert "tiergarten_operator_is_leader 1.0" in metrics
    assert f'tiergarten_operator_tier_desired_replicas{{namespace="{world.namespace}"' in metrics


def test_settings_that_are_wrong_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIERGARTEN_WORKERS", "many")
    monkeypatch.setenv("TIERGARTEN_LLAMA_API_KEY", "short")

    assert program.main([]) == 2

    said = capsys.readouterr().err
    assert "TIERGARTEN_WORKERS: " in said
    assert "TIERGARTEN_LLAMA_API_KEY: " in said
    assert "short" not in said.replace("too_short", "").replace("at least", "")
