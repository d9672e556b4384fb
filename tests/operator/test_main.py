"""The program: its command line, its settings, its endpoints, and its end."""

import logging
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from kit.cluster import Cluster
from kit.processes import wait_for
from operating import World
from operator_process import running
from tiergarten_operator import __main__ as program
from tiergarten_operator.facts import DEPLOYMENT, TIER


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """The program sets up logging for its process, which here is the tests' own."""
    kopf = logging.getLogger("kopf")
    before = kopf.level, kopf.handlers, kopf.propagate
    yield
    structlog.reset_defaults()
    kopf.level, kopf.handlers, kopf.propagate = before


def ended_with(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run the program, which must refuse to start, and return what it says."""
    try:
        code: Any = program.main(words)
    except SystemExit as ended:  # argparse ends by itself
        code = ended.code
    assert code == 2
    return capsys.readouterr().err


def test_serves_a_namespace_and_ends_well_on_sigterm(
    cluster: Cluster, world: World, tmp_path: Path
) -> None:
    world.models()
    world.tier("q4")
    at = world.namespace

    with running(
        cluster, tmp_path, "--namespace", at, "--leader-elect", "--lease-namespace", at
    ) as it:
        wait_for("readiness", lambda: httpx.get(f"{it.url}/readyz").is_success, 30)
        world.wait_for_child("Deployment/q4")
        metrics = httpx.get(f"{it.url}/metrics").text
        health = httpx.get(f"{it.url}/healthz")
        it.process.send_signal(signal.SIGTERM)
        code = it.process.wait(30)

    assert (code, health.text) == (0, "ok\n")
    assert "tiergarten_operator_is_leader 1.0" in metrics
    assert f'tiergarten_operator_tier_desired_replicas{{namespace="{at}"' in metrics


def test_a_dry_run_says_what_it_would_write_writes_nothing_and_ends(
    cluster: Cluster,
    world: World,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIERGARTEN_HTTP_PORT", "0")
    world.models()
    world.tier("q4", replicas=3)
    at = world.namespace
    words = ("--kubeconfig", str(cluster.kubeconfig), "--namespace", at, "--dry-run")

    # The lease would be a write, so nothing is waited for.
    assert program.main([*words, "--leader-elect", "--lease-namespace", at]) == 0

    said = capsys.readouterr().out.splitlines()
    assert f"would apply Deployment {at}/q4 (new)" in said
    assert f"would apply Service {at}/q4 (new)" in said
    assert any(it.startswith(f"would apply ModelTier/status {at}/q4") for it in said)
    assert not [it for it in said if " event" in it]
    assert world.children("q4") == {}
    assert "status" not in world.there(TIER, "q4")


def test_a_dry_run_names_the_fields_that_differ(
    cluster: Cluster,
    world: World,
    operator: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIERGARTEN_HTTP_PORT", "0")
    world.models()
    world.tier("q4")
    with operator():
        world.wait_for_child("Service/q4")
        world.wait_for_reason("q4", "Accepted", "Valid")
    world.change(TIER, "q4", {"spec": {"replicas": 5}})
    at = world.namespace

    assert (
        program.main(["--kubeconfig", str(cluster.kubeconfig), "--namespace", at, "--dry-run"]) == 0
    )

    assert f"would apply Deployment {at}/q4 (spec.replicas)" in capsys.readouterr().out
    assert world.there(DEPLOYMENT, "q4")["spec"]["replicas"] == 1


def test_settings_that_are_wrong_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIERGARTEN_WORKERS", "many")
    monkeypatch.setenv("TIERGARTEN_LLAMA_API_KEY", "short")

    said = ended_with(capsys)

    assert "TIERGARTEN_WORKERS=many: " in said
    assert "TIERGARTEN_LLAMA_API_KEY: " in said
    assert "short" not in said


@pytest.mark.parametrize(
    ("text", "cause"),
    [("{", "while parsing"), ("clusters: []", "current-context")],
    ids=["no YAML", "empty"],
)
def test_a_kubeconfig_that_does_not_serve_is_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, cause: str
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)

    said = ended_with(capsys, "--kubeconfig", str(file))

    assert said.startswith(f"tiergarten-operator: {file}: cannot log in: ")
    assert cause in said
    assert said.count("\n") == 1


def test_outside_a_cluster_a_kubeconfig_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    said = ended_with(capsys)

    assert "name a kubeconfig" in said
    assert said.count("\n") == 1


def test_a_misspelt_setting_is_named_with_the_right_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("TIERGARTEN_WORKER", "2")
    file = tmp_path / "kubeconfig"
    file.write_text("{")

    assert program.main(["--kubeconfig", str(file)]) == 2

    told = "".join(capsys.readouterr())
    assert "setting_unknown" in told
    assert "write TIERGARTEN_WORKERS" in told


def test_a_kubeconfig_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    said = ended_with(capsys, "--kubeconfig", "/nowhere/config")

    assert "argument --kubeconfig: /nowhere/config: the file does not exist" in said


@pytest.mark.parametrize("name", ["Models", "-models", "m" * 64, ""])
@pytest.mark.parametrize("option", ["--namespace", "--lease-namespace"])
def test_a_name_that_no_namespace_can_have_is_refused(
    capsys: pytest.CaptureFixture[str], option: str, name: str
) -> None:
    said = ended_with(capsys, f"{option}={name}")

    assert f"argument {option}: '{name}' is no namespace" in said


def test_a_port_that_is_taken_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cluster: Cluster
) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))  # noqa: S104 -- where the operator listens
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("TIERGARTEN_HTTP_PORT", str(port))

        said = ended_with(capsys, "--kubeconfig", str(cluster.kubeconfig))

    assert said.startswith(f"tiergarten-operator: port {port}: cannot be listened on: ")
