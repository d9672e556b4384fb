"""The middle layer of an image: third-party packages, in the versions that the tests run with.

The versions are those of the environment that runs the tests, so that an image holds what was
tested, and a new release of some library changes nothing by itself. pip fetches wheels for the
image's Python, whatever Python runs the tests.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from kit import commands, debian, oci

PROJECT = Path(__file__).parents[3]
NAME = "tiergarten"
KEPT_SECONDS = 30 * 24 * 3600  # each new release of some package makes a layer
# Of wheels for glibc, down to the oldest in use; the image's own is 2.36.
GLIBC = range(36, 4, -1)
OLD_PLATFORMS = ("manylinux2014", "manylinux2010", "manylinux1")
COMPILE = ("-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash")


def layer(extras: Sequence[str], more: Sequence[str] = ()) -> oci.Layer:
    """Return the layer with what the project needs, made if need be.

    Args:
        extras: The project's extras whose requirements go in, with those of the project itself.
        more: Requirements beyond them.
    """
    exact = sorted(pins([*requirements(extras), *map(Requirement, more)]))
    text = "\n".join([debian.PYTHON, os.uname().machine, *exact])
    file = debian.LAYERS / f"wheels-{hashlib.sha256(text.encode()).hexdigest()[:16]}.tar"
    if made := oci.packed(file):
        return made
    with debian.one_at_a_time("wheels"):
        oci.forget(debian.LAYERS.glob("wheels-*.tar"), KEPT_SECONDS)
        return oci.packed(file) or _make(exact, file)


def requirements(extras: Sequence[str]) -> list[Requirement]:
    """Return the project's own requirements and those of some of its extras."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"]]
    for extra in extras:
        named += project["optional-dependencies"][extra]
    return [r for r in map(Requirement, named) if canonicalize_name(r.name) != NAME]


def compile_python(folder: Path) -> None:
    """Compile the Python files in a folder with the image's Python.

    Files carry no times in an image, so what was compiled must not be checked against them.
    """
    with tempfile.TemporaryDirectory(dir=debian.root() / "tmp") as inside:
        moved = Path(inside) / "root"
        shutil.move(folder, moved)
        within = f"/{moved.relative_to(debian.root())}"
        python = ["chroot", str(debian.root()), f"/usr/bin/python{debian.PYTHON}"]
        commands.run([*python, *COMPILE, "-s", within, "-p", "/", within])
        shutil.move(moved, folder)


def _make(exact: Sequence[str], file: Path) -> oci.Layer:
    with tempfile.TemporaryDirectory(dir=debian.LAYERS) as temporary:
        root = Path(temporary) / "root"
        target = root / debian.site_packages()
        target.mkdir(parents=True)
        _install(exact, target)
        shutil.rmtree(target / "bin", ignore_errors=True)  # scripts for this machine's Python
        compile_python(root)
        return oci.pack(root, file)


def _install(exact: Sequence[str], target: Path) -> None:
    machine = os.uname().machine
    tags = [f"manylinux_2_{n}" for n in GLIBC] + list(OLD_PLATFORMS)
    platforms = [word for tag in tags for word in ("--platform", f"{tag}_{machine}")]
    kind = ["--python-version", debian.PYTHON, "--implementation", "cp", "--only-binary=:all:"]
    quiet = ["--quiet", "--no-deps", "--no-compile", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "install", *quiet, "--target", str(target)]
    commands.run([*pip, *kind, *platforms, *exact])


def pins(wanted: Iterable[Requirement]) -> set[str]:
    """Return the exact versions of requirements and of all that they require in turn."""
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    queue = list(wanted)
    while queue:
        requirement = queue.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        pin, below = _installed(requirement)
        found.add(pin)
        queue += [r for r in below if _applies(r, ("", *requirement.extras))]
    return found


def _applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    if not requirement.marker:
        return True
    image = {"python_version": debian.PYTHON, "python_full_version": debian.PYTHON_FULL}
    return any(requirement.marker.evaluate(image | {"extra": extra}) for extra in extras)


def _installed(requirement: Requirement) -> tuple[str, list[Requirement]]:
    """Return the version that is installed here, and what it requires.

    What only the image's Python needs is not installed here; any version of it that will do, does.
    """
    name = canonicalize_name(requirement.name)
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return f"{name}{requirement.specifier}", []
    return f"{name}=={found.version}", list(map(Requirement, found.requires or []))
