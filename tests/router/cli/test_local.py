"""`tiergarten local` as a program: what it refuses, and that it follows the file it was given."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from routing import free_port
from tiergarten_router.cli import local
from tiergarten_router.settings import Settings

SECONDS = 40
PROGRAM = (sys.executable, "-c", "from tiergarten_router.cli.main import main; main()")
TIER = """
apiVersion: tiergarten.dev/v1alpha1
kind: ModelTier
metadata: {{name: {name}}}
spec:
  model:
    name: demo
    source: {{volume: {{claimName: models}}}}
    files: [{{name: {file}}}]
  replicas: {replicas}
  runtime: {{contextLength: {context}, parallel: 2, threads: 1, promptCacheMiB: 0}}
  rollout: {{drainTimeoutSeconds: 5}}
  routing: {{rank: {rank}}}
---
"""


def tier(name: str, **fields: object) -> str:
    given = {"file": "small.gguf", "replicas": 1, "context": 4096, "rank": 10, **fields}
    return TIER.format(name=name, **given)


def refused(*arguments: str, environ: dict[str, str] | None = None) -> str:
    """Run the program to its end and return what it says; it must exit with 2."""
    done = subprocess.run(
        [*PROGRAM, "local", *arguments],
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


class Running:
    """A running program and the router that it opened."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process = process
        self.url = url

    def tiers(self) -> dict[str, Any]:
        """Return the tiers by name; none while the port is closed."""
        with contextlib.suppress(httpx.HTTPError):
            found = httpx.get(f"{self.url}/v1/tiers", timeout=5, trust_env=False).json()["tiers"]
            return {one["name"]: one for one in found}
        return {}

    def until(self, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Return the tiers once something holds of them; fail after the bound."""
        end = time.monotonic() + SECONDS
        while True:
            tiers = self.tiers()
            if tiers and holds(tiers):
                return tiers
            assert time.monotonic() < end, tiers
            assert self.process.poll() is None
            time.sleep(0.05)

    def children(self) -> list[int]:
        """Return the pids of its processes."""
        pid = self.process.pid
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]


@pytest.fixture
def models(tmp_path: Path, scripted_model: Callable[[str], Path]) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("small", "large"):
        (folder / f"{name}.gguf").symlink_to(scripted_model(name))
    return folder


@contextlib.contextmanager
def running(file: Path, models: Path) -> Iterator[Running]:
    port = free_port()
    command = [*PROGRAM, "local", str(file), "--volume", f"models={models}", "--port", str(port)]
    scratch = file.parent / "scratch"
    scratch.mkdir()
    environ = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environ) as process:
        try:
            yield Running(process, f"http://127.0.0.1:{port}")
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait(SECONDS)
    if status != -signal.SIGKILL:
        assert status == 0
        assert list(scratch.iterdir()) == []


def ready(name: str, count: int) -> Callable[[dict[str, Any]], bool]:
    return lambda tiers: [r["state"] for r in tiers[name]["replicas"]] == ["ready"] * count


def test_an_edit_is_applied_and_touches_only_what_it_changes(tmp_path: Path, models: Path) -> None:
    file = tmp_path / "tiers.yaml"
    file.write_text(tier("q2") + tier("q4", file="large.gguf", rank=30))
    with running(file, models) as program:
        program.until(lambda tiers: ready("q2", 1)(tiers) and ready("q4", 1)(tiers))
        before = set(program.children())

        file.write_text(tier("q2", replicas=2) + tier("q4", file="large.gguf", rank=40))
        program.until(ready("q2", 2))

        assert before <= set(program.children())  # scaled, ranked anew, and nothing restarted
        assert program.tiers()["q4"]["rank"] == 40

        file.write_text(tier("q2", context=8192) + tier("q4", file="large.gguf", rank=40))
        program.until(lambda tiers: tiers["q2"]["slot_tokens"] == 4096 and ready("q2", 1)(tiers))
        answer = httpx.post(f"{program.url}/api/query", json={"query": "hi"}, timeout=20)
        assert answer.json()["model_tier"] == "q2"
        children = program.children()
    assert not any(map(alive, children))


def test_an_edit_with_a_mistake_changes_nothing_and_is_named(tmp_path: Path, models: Path) -> None:
    file = tmp_path / "tiers.yaml"
    file.write_text(tier("q2"))
    with running(file, models) as program:
        program.until(ready("q2", 1))
        before = set(program.children())

        file.write_text(tier("q2", replicas=-1))
        tiers = program.until(lambda tiers: "not applied" in tiers["q2"]["message"])

        assert "spec.replicas" in tiers["q2"]["message"]
        assert tiers["q2"]["ready"]
        assert set(program.children()) == before


def test_a_broken_model_leaves_the_other_tiers_serving(tmp_path: Path, models: Path) -> None:
    (models / "broken.gguf").write_bytes(b"GGUF\x03\x00\x00\x00cut")
    file = tmp_path / "tiers.yaml"
    file.write_text(tier("q2") + tier("q3", file="broken.gguf", rank=20))
    with running(file, models) as program:
        tiers = program.until(ready("q2", 1))
        answer = httpx.post(f"{program.url}/api/query", json={"query": "hi"}, timeout=20)

    assert tiers["q3"]["reason"] == "NotGGUF"
    assert "broken.gguf" in tiers["q3"]["message"]
    assert answer.json()["model_tier"] == "q2"


def test_a_killed_replica_comes_back(tmp_path: Path, models: Path) -> None:
    file = tmp_path / "tiers.yaml"
    file.write_text(tier("q2"))
    with running(file, models) as program:
        program.until(ready("q2", 1))
        servers = [
            pid
            for pid in program.children()
            if b"--ctx-size" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(servers[0], signal.SIGKILL)

        tiers = program.until(lambda tiers: tiers["q2"]["replicas"][0]["restarts"] == 1)
        program.until(ready("q2", 1))

    assert tiers["q2"]["replicas"][0]["restarts"] == 1


def test_sigkill_of_the_program_leaves_no_child(tmp_path: Path, models: Path) -> None:
    file = tmp_path / "tiers.yaml"
    file.write_text(tier("q2"))
    with running(file, models) as program:
        program.until(ready("q2", 1))
        children = program.children()
        assert len(children) >= 2  # llama-server and Valkey
        program.process.kill()
        program.process.wait(SECONDS)
        end = time.monotonic() + SECONDS
        while any(map(alive, children)):
            assert time.monotonic() < end
            time.sleep(0.02)


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_every_problem_of_the_yaml_is_said_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "tiers.yaml"
    file.write_text(tier("q2", replicas=-1) + "kind: Deployment\napiVersion: apps/v1\n")

    said = refused(str(file), "--volume", f"models={tmp_path}")

    assert f"{file}: document 1, line 8" in said or "spec.replicas" in said
    assert "Deployment" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "add --volume models=DIR"),
        (("--volume", "models"), "is not CLAIM=DIR"),
        (("--volume", "models=/no/such"), "there is no folder /no/such"),
        (("--volume", "models=.", "--llama-server", "/no/such"), "is no program"),
    ],
    ids=["no volume", "bad volume", "no folder", "no server"],
)
def test_what_the_user_must_mend_is_said_in_a_line(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    file = tmp_path / "tiers.yaml"
    file.write_text(tier("q2"))

    said = refused(str(file), *arguments)

    assert words in said
    assert len(said.splitlines()) == 1


def test_a_missing_file_model_port_or_a_bad_setting_is_said(tmp_path: Path, models: Path) -> None:
    file = tmp_path / "tiers.yaml"
    file.write_text(tier("q2", file="none.gguf"))
    volume = ("--volume", f"models={models}", "--port", str(free_port()))

    assert "name a YAML file" in refused(str(tmp_path / "none.yaml"), *volume)
    assert "none.gguf" in refused(str(file), *volume)
    assert "TIERGARTEN_QUEUE_SECONDS=soon" in refused(
        str(file), *volume, environ={"TIERGARTEN_QUEUE_SECONDS": "soon"}
    )
    wrong = {"TIERGARTEN_REDIS_URL": "http://:hunter2@cache"}
    said = refused(str(file), *volume, environ=wrong)
    assert "TIERGARTEN_REDIS_URL: " in said
    assert "write redis://host:6379/0" in said
    assert "hunter2" not in said
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} of 127.0.0.1" in refused(str(file), *volume[:2], "--port", str(port))


def test_volumes_are_folders_by_claim(tmp_path: Path) -> None:
    assert local.volumes([f"models={tmp_path}"]) == {"models": tmp_path}


def test_a_router_on_its_own_opens_no_second_port_and_stops_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = local.alone(Settings())
    monkeypatch.setenv("TIERGARTEN_OPS_PORT", "9191")
    asked = local.alone(Settings())

    assert (alone.ops_port, alone.stop_delay_seconds) == (0, 0)
    assert (asked.ops_port, asked.stop_delay_seconds) == (9191, 0)
