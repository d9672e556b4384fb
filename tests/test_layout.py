"""What no linter holds: packages, sizes, tests for every module, one version."""

import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINES = 300
SOURCES = {
    "crds/tiergarten_api": "tests/api",
    "operator/tiergarten_fetch": "tests/fetch",
    "operator/tiergarten_llama": "tests/llama",
    "operator/tiergarten_operator": "tests/operator",
    "router/tiergarten_router": "tests/router",
}
# Longer than a file should be, and why.
LONG = {
    "router/tiergarten_router/app.py": "one wiring of all parts, and the edge in front of them",
    "router/tiergarten_router/fleet.py": "one mutable picture: leases, queue and breakers share it",
    "router/tiergarten_router/api/protocol.py": "one connection, from its first byte to its last",
    "router/tiergarten_router/dispatch.py": "one orchestrator with its errors for clients",
    "router/tiergarten_router/upstream/stream.py": "one stream from its opening to its end",
    "router/tiergarten_router/events/answers.py": "one answer, and its readers here and elsewhere",
    "router/tiergarten_router/events/hub.py": "one fan-out: joins, replays, holes share a place",
    "router/tiergarten_router/events/redis_log.py": "one log, with the script it is made of",
    "router/tiergarten_router/events/kinds.py": "one list of kinds, a struct each",
    "tests/api/test_gguf.py": "one reader, against made and broken files",
    "tests/bench/bench.py": "one bench: its loads, its run, its tables",
    "tests/faults/hub.py": "one imitated hub",
    "tests/faults/test_upstream.py": "one scripted upstream, a test for each behaviour",
    "tests/llama/test_server.py": "one program, asked as clients ask it",
    "tests/router/api/test_openai.py": "three doors that share their cases",
    "tests/router/test_fleet_queue.py": "one queue, in any order of events and case by case",
    "tests/router/api/test_events.py": "two doors that share their cases",
    "tests/router/events/test_hub.py": "nine promises, on two logs",
    "tests/router/test_dispatch.py": "one orchestrator, fault by fault",
    "tests/soak/event_stream.py": "one run: its parts, its faults, its checker",
}
# Modules that are tested through others, and where.
ELSEWHERE = {
    "operator/tiergarten_operator/desired/cleaning.py": "tests/operator/test_behaviours_shared.py",
    "operator/tiergarten_operator/finalizing.py": "tests/operator/test_behaviours_shared.py",
    "operator/tiergarten_operator/gathering.py": "tests/operator/test_reconcile.py",
    "operator/tiergarten_operator/children.py": "tests/operator/test_behaviours_drift.py",
    "operator/tiergarten_operator/desired/account.py": "tests/operator/desired/test_desired.py",
    "operator/tiergarten_operator/desired/api_key.py": "tests/operator/desired/test_desired.py",
    "operator/tiergarten_operator/desired/autoscaler.py": "tests/operator/desired/test_desired.py",
    "operator/tiergarten_operator/desired/budget.py": "tests/operator/desired/test_desired.py",
    "operator/tiergarten_operator/desired/claim.py": "tests/operator/desired/test_desired.py",
    "operator/tiergarten_operator/desired/deployment.py": "tests/operator/desired/test_desired.py",
    "operator/tiergarten_operator/desired/fetching.py": "tests/operator/desired/test_desired.py",
    "operator/tiergarten_operator/desired/job.py": "tests/operator/desired/test_desired.py",
    "operator/tiergarten_operator/desired/memory.py": "tests/operator/desired/test_desired.py",
    "operator/tiergarten_operator/desired/policy.py": "tests/operator/desired/test_desired.py",
    "operator/tiergarten_operator/desired/server.py": "tests/operator/desired/test_desired.py",
    "operator/tiergarten_operator/desired/service.py": "tests/operator/desired/test_desired.py",
    "operator/tiergarten_operator/desired/stamp.py": "tests/operator/desired/test_desired.py",
    "operator/tiergarten_operator/errors.py": "tests/operator/cluster/test_api.py",
    "operator/tiergarten_operator/facts.py": "tests/operator/desired/test_desired.py",
    "operator/tiergarten_operator/observed/fetches.py": "tests/operator/observed/test_observed.py",
    "operator/tiergarten_operator/observed/pods.py": "tests/operator/observed/test_observed.py",
    "operator/tiergarten_operator/observed/servings.py": "tests/operator/observed/test_observed.py",
    "operator/tiergarten_operator/status/conditions.py": "tests/operator/status/test_status.py",
    "operator/tiergarten_operator/status/routes.py": "tests/operator/status/test_status.py",
    "operator/tiergarten_operator/status/tiers.py": "tests/operator/status/test_status.py",
    "router/tiergarten_router/api/access.py": "tests/router/api/test_events.py",
    "router/tiergarten_router/api/cold.py": "tests/router/api/test_ops.py",
    "router/tiergarten_router/api/decode.py": "tests/router/api/test_openai.py",
    "router/tiergarten_router/api/doors.py": "tests/router/api/test_openai.py",
    "router/tiergarten_router/api/failures.py": "tests/router/api/test_ops.py",
    "router/tiergarten_router/api/openapi.py": "tests/router/api/test_ops.py",
    "router/tiergarten_router/api/replies.py": "tests/router/api/test_openai.py",
    "router/tiergarten_router/core/health.py": "tests/router/upstream/test_probe.py",
}


def tracked() -> list[Path]:
    """Return the files of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],  # noqa: S607 -- git is on PATH
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def test_no_package_stands_where_it_would_shadow_another() -> None:
    inits = [path.relative_to(ROOT) for path in tracked() if path.name == "__init__.py"]

    assert [path for path in inits if path.parts[0] == "tests" or len(path.parts) == 2] == []


def test_no_file_grows_without_a_reason() -> None:
    sources = [path for path in tracked() if path.suffix == ".py"]
    long = [
        str(path.relative_to(ROOT))
        for path in sources
        if len(path.read_text(encoding="utf-8").splitlines()) > LINES
    ]

    assert [name for name in long if name not in LONG] == []


def test_every_module_has_a_test_or_says_where_it_is_tested() -> None:
    missing = []
    for source, tests in SOURCES.items():
        for path in (ROOT / source).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            if path.name.startswith("__") or name in ELSEWHERE:
                continue
            inner = path.relative_to(ROOT / source)
            if not (ROOT / tests / inner.parent / f"test_{inner.name}").exists():
                missing.append(name)

    assert missing == []
    assert [where for where in ELSEWHERE.values() if not (ROOT / where).exists()] == []


def test_there_is_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert version("tiergarten") == project["project"]["version"]


def test_the_locks_agree_and_hold_no_address() -> None:
    dev, *others = sorted((ROOT / "locks").glob("*.txt"), key=lambda file: file.stem != "dev")
    pins = re.compile(r"^(\S+==\S+)", re.MULTILINE)

    assert dev.stem == "dev"
    for lock in (dev, *others):
        text = lock.read_text()
        assert set(pins.findall(text)) - set(pins.findall(dev.read_text())) == set()
        assert re.findall(r".*(?:://|--index|--find-links).*", text) == []
