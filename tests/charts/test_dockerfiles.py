"""The Dockerfiles: safe by their text, and the same images as those that the kit packs."""

import re
import tomllib

import pytest

import dockerfiles
from dockerfiles import FILES, IMAGES
from kit import images, locks, oci
from kit.locks import PROJECT

ROOTED = "65532:65532"


@pytest.fixture(scope="module")
def version() -> str:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


@pytest.mark.parametrize("file", FILES)
def test_every_stage_starts_from_the_base_that_can_be_given(file: str) -> None:
    arguments, stages = dockerfiles.read(file)

    assert set(arguments) == {"BASE"}
    assert re.fullmatch(r"python:3\.\d+-\S+", arguments["BASE"])
    assert {stage.base for stage in stages.values()} == {"${BASE}"}


@pytest.mark.parametrize("file", FILES)
def test_all_that_is_copied_is_there_and_in_the_context(file: str) -> None:
    _, stages = dockerfiles.read(file)
    ignored = (PROJECT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}

    for stage in stages.values():
        for origin, sources, _ in stage.copies():
            if origin:
                assert origin in stages
                continue
            assert [it for it in sources if not (PROJECT / it).exists()] == []
            assert {it.partition("/")[0] for it in sources} <= let_in


@pytest.mark.parametrize("file", FILES)
def test_packages_come_from_locks_by_their_hashes(file: str) -> None:
    _, stages = dockerfiles.read(file)

    commands = [run for stage in stages.values() for run in stage.all("RUN")]
    installs = [it for run in commands for it in run.split("&&") if "install" in it and "pip" in it]

    assert installs
    for install in installs:
        assert "--require-hashes" in install or "--no-index" in install


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_nobody_and_says_what_it_is(image: str, version: str) -> None:
    stage = dockerfiles.final(image)

    assert stage.one("USER") == ROOTED == oci.Image("x", (), ("x",)).user
    names = [name for name, _ in stage.instructions]
    assert set(names[names.index("USER") :]) <= {"USER", "EXPOSE", "ENTRYPOINT", "CMD"}
    labels = stage.pairs("LABEL")
    assert labels["org.opencontainers.image.title"] == f"tiergarten-{image}"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert stage.pairs("ARG") == {"VERSION": version}


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_what_the_kit_packs(image: str) -> None:
    stage, recipe = dockerfiles.final(image), images.RECIPES[image]

    assert tuple(stage.words("ENTRYPOINT")) == recipe.entrypoint
    assert tuple(stage.words("CMD")) == recipe.command
    assert {f"{name}={value}" for name, value in stage.pairs("ENV").items()} == set(recipe.env)


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_the_packages_that_the_kit_packs(image: str) -> None:
    lock, wanted = dockerfiles.lock(image), locks.requirements(images.RECIPES[image].extras)

    packed = locks.pins(wanted)

    assert lock.stem == image
    assert locks.pins(wanted, lock) == packed
    assert set(locks.names(lock)) == {line.partition("==")[0] for line in packed}


def test_every_image_has_a_dockerfile() -> None:
    assert set(IMAGES) == set(images.RECIPES)
