"""What this machine can run, and how it gets the programs that it lacks."""

import os
import resource
import shutil
from pathlib import Path

from kit import build, commands, sandbox
from kit.configs import PLUGIN_FOLDERS
from kit.errors import Missing

# What a node runs, and the Debian package that holds it. conntrack and iptables are kubelet's,
# the network plugins' and kube-proxy's; debootstrap makes the base of the images.
PACKAGES = {
    "runc": "runc",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
}
PLUGINS_PACKAGE = "containernetworking-plugins"
APT = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq"]
APT_ENV = {"DEBIAN_FRONTEND": "noninteractive"}
MOST_OPEN_FILES = 1_000_000


def prepare(level: int) -> None:
    """See to it that a cluster of a level can start here; installs packages where root may.

    Raises:
        Missing: It cannot.
    """
    if not Path("/proc/self/stat").exists():
        raise Missing("Linux")
    if not shutil.which("openssl"):
        raise Missing("openssl, for certificates")
    if level >= 3:
        if os.geteuid() != 0:
            raise Missing("root, for a node's namespaces")
        install()
        _check_namespaces()
    if not build.is_built(level):
        try:
            build.go()
        except build.NoGo as error:
            raise Missing(str(error)) from error


def install() -> None:
    """Install what a node needs; quick when all is there.

    Raises:
        Missing: Something lacks, and this process may not install it, or apt cannot.
    """
    wanted = lacking()
    if not wanted:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Missing(f"the packages {' '.join(wanted)}, or root and apt-get to install them")
    command = [*APT, "install", "-y", "--no-install-recommends", *wanted]
    if not commands.works(command, APT_ENV):
        commands.works([*APT, "update"])
        if not commands.works(command, APT_ENV):
            raise Missing(f"the packages {' '.join(wanted)}, which apt-get cannot install")


def lacking() -> list[str]:
    """Return the Debian packages that a node needs and that are not here."""
    wanted = [package for program, package in PACKAGES.items() if not shutil.which(program)]
    has_plugins = any((folder / "bridge").exists() for folder in PLUGIN_FOLDERS)
    return wanted if has_plugins else [*wanted, PLUGINS_PACKAGE]


def open_files() -> int:
    """Return how many files a program may open here."""
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], MOST_OPEN_FILES)


def snapshotter(folder: Path) -> str:
    """Return how containerd can keep images in a folder: an overlay cannot lie on another one."""
    kind = ["stat", "--file-system", "--format=%T", str(folder)]
    return "native" if commands.run(kind).strip() in ("overlayfs", "overlay") else "overlayfs"


def _check_namespaces() -> None:
    spaces = ["--net", "--mount", "--pid", "--fork", "--mount-proc"]
    if not commands.works(["unshare", *spaces, "true"]):
        raise Missing("the right to make network, mount and pid namespaces")
    if not sandbox.cgroups_are_ours():
        raise Missing("the right to make cgroups")
