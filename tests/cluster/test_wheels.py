"""Images hold the versions that the tests run with."""

from importlib import metadata

from packaging.requirements import Requirement

from kit import wheels


def test_pins_what_is_installed_here_and_what_that_needs() -> None:
    pins = wheels.pins([Requirement("httpx>=0.1")])

    assert f"httpx=={metadata.version('httpx')}" in pins
    assert f"httpcore=={metadata.version('httpcore')}" in pins


def test_leaves_out_what_only_other_systems_need() -> None:
    pins = wheels.pins([Requirement("click")])

    assert pins == {f"click=={metadata.version('click')}"}  # colorama is for Windows


def test_takes_any_version_of_what_only_the_image_needs() -> None:
    assert wheels.pins([Requirement("not-installed-here>=2")]) == {"not-installed-here>=2"}


def test_an_extra_adds_to_the_projects_own_requirements() -> None:
    least = {r.name for r in wheels.requirements(())}
    operator = {r.name for r in wheels.requirements(("operator",))}

    assert "pydantic" in least
    assert operator - least >= {"kopf", "kubernetes-asyncio"}
