"""Images hold what the project's lock says, and only what their program needs."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from kit import locks
from kit.errors import Failed


def names(*wanted: str) -> set[str]:
    return {line.partition("==")[0] for line in locks.pins(map(Requirement, wanted))}


def test_takes_versions_and_hashes_from_the_lock() -> None:
    (click,) = locks.pins([Requirement("click")])

    version = click.split()[0]
    assert f"\n{version} \\\n" in locks.LOCK.read_text()
    assert click.count(" --hash=sha256:") >= 2


def test_takes_what_is_needed_in_turn_and_nothing_else() -> None:
    found = names("httpx")

    assert found >= {"httpx", "httpcore", "h11", "anyio", "certifi", "idna"}
    assert not found & {"pytest", "kopf", "h2"}  # h2 is for an extra that nobody asked for


def test_takes_what_only_the_images_python_needs() -> None:
    assert "async-timeout" in names("redis")  # for Python before 3.11.3


def test_an_extra_adds_to_the_projects_own_requirements() -> None:
    least = {r.name for r in locks.requirements(())}
    operator = {r.name for r in locks.requirements(("operator",))}

    assert "pydantic" in least
    assert operator - least >= {"kopf", "kubernetes-asyncio"}


def test_refuses_what_the_lock_lacks(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")

    with pytest.raises(Failed, match=r"empty\.txt lacks click"):
        locks.pins([Requirement("click")], tmp_path / "empty.txt")
