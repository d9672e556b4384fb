"""The project's images, packed for a test cluster: Debian, third-party packages, our own code.

The code is the last layer and the same in all images, so that a change of it packs in a second. No
image tool, no registry: pods use `imagePullPolicy: Never`.
"""

import hashlib
import shutil
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit import debian, oci, wheels
from kit.cluster import Cluster
from kit.locks import PROJECT

KEPT_SECONDS = 2 * 24 * 3600  # each change of the code makes a layer
SCRIPT = """\
#!/{prefix}/bin/python
import sys
from {module} import {function}

sys.exit({function}())
"""


ENV = (
    f"PATH=/{debian.PREFIX}/bin:/usr/local/bin:/usr/bin:/bin",
    *("PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", "HOME=/tmp"),
)
FRUGAL = ("MALLOC_ARENA_MAX=1", "MALLOC_TRIM_THRESHOLD_=65536")


@dataclass(frozen=True)
class Recipe:
    """What an image runs, and what it holds beyond the code: extras of the project.

    The Dockerfiles say the same; `tests/charts/test_dockerfiles.py` compares.
    """

    entrypoint: tuple[str, ...]
    command: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    env: tuple[str, ...] = ENV


RECIPES = {
    "operator": Recipe(("tiergarten-operator",), extras=("operator",), env=(*ENV, *FRUGAL)),
    "router": Recipe(("tiergarten",), ("serve",), extras=("router",)),
    "fetch": Recipe(("tiergarten-fetch",)),
    "llama": Recipe(("tiergarten-llama-server",), extras=("llama",)),
}


def reference(name: str) -> str:
    """Return the full name of an image, as a pod writes it."""
    return f"docker.io/local/tiergarten-{name}:test"


def make(name: str) -> oci.Image:
    """Return an image, with the layers made that are not in the cache."""
    recipe = RECIPES[name]
    layers = (debian.layer(), wheels.layer(recipe.extras), code())
    return oci.Image(reference(name), layers, recipe.entrypoint, recipe.command, recipe.env)


def load(cluster: Cluster, name: str) -> str:
    """Put an image into a cluster's node, and return its reference."""
    cluster.containerd.load([make(name)])
    return reference(name)


def write(name: str, file: Path) -> None:
    """Write an image as an archive."""
    with file.open("wb") as out:
        oci.write(out, [make(name)])


def code() -> oci.Layer:
    """Return the layer with the project's own packages and programs, made if they changed."""
    contents, project = _wheel()
    file = debian.LAYERS / f"code-{_hash(contents, project)}.tar"
    if made := oci.packed(file):
        return made
    with debian.one_at_a_time("code"):
        oci.forget(debian.LAYERS.glob("code-*.tar"), KEPT_SECONDS)
        return oci.packed(file) or _pack_code(contents, project, file)


def code_hash() -> str:
    """Return what tells the code of now from that of before; nothing is packed."""
    return _hash(*_wheel())


def _wheel() -> tuple[dict[Path, str], dict[str, Any]]:
    """Return what a wheel would hold, by the path that it gets there, and the project's table."""
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    contents = {PROJECT / folder: Path(folder).name for folder in wheel["packages"]}
    contents |= {PROJECT / file: at for file, at in wheel.get("force-include", {}).items()}
    return contents, settings["project"]


def _hash(contents: Mapping[Path, str], project: Mapping[str, Any]) -> str:
    """Return a hash of all files, by the paths that they get in the image."""
    digest = hashlib.sha256(repr((project.get("version"), project["scripts"])).encode())
    for source, at in contents.items():
        for file in [source] if source.is_file() else sorted(source.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"\0{at}/{file.relative_to(source)}\0".encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _pack_code(contents: Mapping[Path, str], project: Mapping[str, Any], file: Path) -> oci.Layer:
    with tempfile.TemporaryDirectory(dir=debian.LAYERS) as temporary:
        root = Path(temporary) / "root"
        packages, programs = root / debian.site_packages(), root / debian.PREFIX / "bin"
        programs.mkdir(parents=True)
        for source, at in contents.items():
            if source.is_file():
                shutil.copy(source, packages / at)
            else:
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, packages / at, ignore=ignored)
        _write_metadata(packages, project)
        for name, target in project["scripts"].items():
            _write_program(programs / name, target)
        wheels.compile_python(root)
        return oci.pack(root, file)


def _write_metadata(packages: Path, project: Mapping[str, Any]) -> None:
    """Write what `importlib.metadata` says about an installed wheel."""
    version = project.get("version", "0")
    folder = packages / f"{project['name']}-{version}.dist-info"
    folder.mkdir()
    text = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n"
    (folder / "METADATA").write_text(text)


def _write_program(file: Path, target: str) -> None:
    module, _, function = target.partition(":")
    file.write_text(SCRIPT.format(prefix=debian.PREFIX, module=module, function=function))
    file.chmod(0o755)
