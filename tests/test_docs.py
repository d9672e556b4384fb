"""The documents say what the code does: settings, errors, metrics, commands and links."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from tiergarten_api import manifests
from tiergarten_operator import events
from tiergarten_operator import metrics as operator_metrics
from tiergarten_operator import settings as operator_settings
from tiergarten_router import errors, wire
from tiergarten_router.app import Router
from tiergarten_router.settings import Settings
from tiergarten_router.upstream import refusal

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
# Where each command of the documents is run; what installs or serves for ever has a bounded twin.
COMMANDS = {
    "make demo": "tests/router/cli/test_demo.py",  # its program; the target only installs before
    "make cluster-demo": "tests/charts/test_cluster_demo.py",  # its program; the target installs
    "make test": ".ci/run",
    "make check": ".ci/run",
    "make fmt": "ruff, as make check",
    "make bench": "tests/bench/test_bench.py",
    "curl -N -H 'Last-Event-ID: 17' localhost:8080/v1/answers/ID/stream": (
        "tests/router/api/test_answers.py"
    ),
    "make soak": "tests/soak/test_event_stream.py",
    "tiergarten events --follow": "tests/router/cli/test_events.py",
    "curl -N 'localhost:8080/v1/events/sse?kind=query.&latest=10'": (
        "tests/router/api/test_events.py"
    ),
    "tiergarten local tiers.yaml --volume models=./models": "tests/router/cli/test_local.py",
    "tiergarten serve --host 0.0.0.0 --namespace models": "tests/router/sources/kube/test_pods.py",
    "tiergarten-operator --namespace models": "tests/operator/test_main.py",
    """curl localhost:8080/api/query -d '{"query": "What is the capital of France?"}'""": (
        "tests/router/api/test_query.py"
    ),
}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def codes(kind: type[errors.RouterError]) -> set[str]:
    return {kind.code}.union(*(codes(child) for child in kind.__subclasses__()))


def kinds(kind: type[errors.RouterError]) -> list[type[errors.RouterError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in kinds(child))]


def made(kind: type[errors.RouterError]) -> errors.RouterError:
    return kind("x", 9, 4) if issubclass(kind, errors.ContextOverflow) else kind("x")


def refusals() -> list[errors.RouterError]:
    """Return what each status of an upstream becomes."""
    error = wire.UpstreamError(message="x")
    return [refusal.of_error(error, status, None) for status in range(400, 600)]


def test_every_setting_is_documented_with_its_default() -> None:
    page = text("docs/settings.md")

    for name, field in Settings.model_fields.items():
        assert f"| `TIERGARTEN_{name.upper()}` | `{field.default}` | {field.description} |" in page


def test_every_setting_of_the_operator_is_documented_with_its_default() -> None:
    page = text("docs/settings.md").partition("## The operator")[2]

    for name, field in operator_settings.Settings.model_fields.items():
        default = "" if field.default in ("", ()) else f"`{field.default}`"
        assert f"| `TIERGARTEN_{name.upper()}` | {default} | {field.description} |" in page


def test_every_error_code_is_documented() -> None:
    page = text("docs/errors.md")

    assert [code for code in codes(errors.RouterError) if f"| `{code}` |" not in page] == []


def test_every_error_code_has_the_statuses_that_clients_see() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d, ]+) \|", text("docs/errors.md"), re.MULTILINE)
    told = {code: {int(status) for status in found.split(",")} for code, found in rows}

    seen: dict[str, set[int]] = {}
    for error in [*map(made, kinds(errors.RouterError)), *refusals()]:
        seen.setdefault(error.code, set()).add(error.status)

    assert told == seen


async def test_every_metric_is_documented() -> None:  # a router belongs to an event loop
    page = text("docs/metrics.md")
    router = Router(Settings())

    names = [family.name for family in router.metrics.collect()]

    assert [name for name in names if f"`{name}" not in page] == []


def test_every_metric_of_the_operator_is_documented() -> None:
    page = text("docs/metrics.md").partition("## The operator")[2]
    registry = CollectorRegistry()
    operator_metrics.Metrics(registry)

    names = [family.name for family in registry.collect()]

    assert [name for name in names if f"`{name}" not in page] == []


def test_every_reason_of_a_condition_is_documented() -> None:
    page = text("docs/operator.md")

    assert [reason for reason in events.TOLD if reason not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_run_somewhere(page: Path) -> None:
    lines = re.findall(r"^    (\S.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)

    told = [
        line
        for line in lines
        if line.split()[0] in {"make", "tiergarten", "tiergarten-operator", "curl", "python"}
    ]

    assert [line for line in told if line not in COMMANDS] == []
    for command in told:
        where = COMMANDS[command].split()[0]
        assert where in {".ci/run", "ruff,"} or (ROOT / where).exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))

    named = re.findall(
        r"(?:`|^    )(?:\w+=\S+ )?make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE
    )

    assert [name for name in named if name not in targets] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_resource_in_the_documents_is_valid(page: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)

    for block in blocks:
        problems = manifests.parse(block, page.name).problems
        assert [str(p) for p in problems if p.severity == "error"] == []
