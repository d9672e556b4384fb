"""The middle layer of an image: third-party packages, as the project's lock has them.

pip fetches wheels for the image's Python, whatever Python runs the tests.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from kit import commands, debian, locks, oci

KEPT_SECONDS = 30 * 24 * 3600  # each new release of some package makes a layer
# Of wheels for glibc, down to the oldest in use; the image's own is 2.36.
GLIBC = range(36, 4, -1)
OLD_PLATFORMS = ("manylinux2014", "manylinux2010", "manylinux1")
COMPILE = ("-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash")


def layer(extras: Sequence[str]) -> oci.Layer:
    """Return the layer with what the project needs, made if need be.

    Args:
        extras: The project's extras whose requirements go in, with those of the project itself.
    """
    exact = "\n".join(locks.pins(locks.requirements(extras)))
    key = hashlib.sha256(f"{debian.PYTHON} {os.uname().machine}\n{exact}".encode()).hexdigest()
    file = debian.LAYERS / f"wheels-{key[:16]}.tar"
    if made := oci.packed(file):
        return made
    with debian.one_at_a_time("wheels"):
        oci.forget(debian.LAYERS.glob("wheels-*.tar"), KEPT_SECONDS)
        return oci.packed(file) or _make(exact, file)


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


def _make(exact: str, file: Path) -> oci.Layer:
    with tempfile.TemporaryDirectory(dir=debian.LAYERS) as temporary:
        root = Path(temporary) / "root"
        target = root / debian.site_packages()
        target.mkdir(parents=True)
        (Path(temporary) / "lock.txt").write_text(exact)
        _install(Path(temporary) / "lock.txt", target)
        shutil.rmtree(target / "bin", ignore_errors=True)  # scripts for this machine's Python
        compile_python(root)
        return oci.pack(root, file)


def _install(lock: Path, target: Path) -> None:
    machine = os.uname().machine
    tags = [f"manylinux_2_{n}" for n in GLIBC] + list(OLD_PLATFORMS)
    platforms = [word for tag in tags for word in ("--platform", f"{tag}_{machine}")]
    kind = ["--python-version", debian.PYTHON, "--implementation", "cp", "--only-binary=:all:"]
    quiet = ["--quiet", "--no-deps", "--no-compile", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "install", *quiet, "--target", str(target)]
    commands.run([*pip, *kind, *platforms, "--require-hashes", "-r", str(lock)])
