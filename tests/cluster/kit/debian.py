"""The lowest layer of every image: a small Debian with Python, made once for each recipe.

debootstrap takes a minute, so the layer stays in the cache under a hash of this file's recipe. The
unpacked folder stays too: `wheels` compiles Python files with the interpreter in it.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from kit import build, commands, oci

SUITE = "bookworm"
PYTHON, PYTHON_FULL = "3.11", "3.11.2"
PACKAGES = ("ca-certificates", "curl", "libgomp1", "python3")
# More than half of the size, and nothing that a program in a pod reads.
USELESS = (
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/perl",
    "usr/lib/*/perl-base",
    "usr/lib/*/gconv",
    "usr/share/zoneinfo",
    "var/cache",
    "var/lib/apt/lists",
    "var/log",
)
PREFIX = "opt/venv"
LAYERS = build.CACHE / "layers"


def layer() -> oci.Layer:
    """Return the layer, made if need be."""
    file = LAYERS / f"debian-{_key()}.tar"
    if made := oci.packed(file):
        return made
    with one_at_a_time("debian"):
        return oci.packed(file) or oci.pack(root(), file, keep_times=True)


def root() -> Path:
    """Return the unpacked folder, made if need be."""
    folder = LAYERS / f"debian-{_key()}"
    if not folder.exists():
        new = folder.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        _bootstrap(new)
        new.rename(folder)
    return folder


def site_packages() -> str:
    """Return where the image's Python finds packages, relative to its root."""
    return f"{PREFIX}/lib/python{PYTHON}/site-packages"


@contextlib.contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """Let one process make a thing while the others wait for it."""
    LAYERS.mkdir(parents=True, exist_ok=True)
    with (LAYERS / f"{what}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _key() -> str:
    recipe = (SUITE, PYTHON, PACKAGES, USELESS, PREFIX, os.uname().machine)
    return hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]


def _bootstrap(folder: Path) -> None:
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE]
    commands.run([*command, str(folder)])
    for useless in (path for pattern in USELESS for path in folder.glob(pattern)):
        shutil.rmtree(useless)
    (folder / PREFIX / "bin").mkdir(parents=True)
    (folder / PREFIX / "bin" / "python").symlink_to(f"/usr/bin/python{PYTHON}")
    (folder / site_packages()).mkdir(parents=True)
    settings = f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n"
    (folder / PREFIX / "pyvenv.cfg").write_text(settings)
