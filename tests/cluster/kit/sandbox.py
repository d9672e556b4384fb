"""The namespaces that a node lives in: network, mounts and pids of its own, and a cgroup.

The first process of the pid namespace holds them all. When it is killed, the kernel ends every
container, shim and daemon of the node and takes all their mounts and interfaces away; only the
cgroup's empty folders are left to remove. That is why nothing is left even by a run that crashed.

The node's bridge is tied to this machine by a pair of interfaces, so that the process that runs the
tests reaches the API server, Services and pods by their addresses, and they reach it. Needs root.
"""

import contextlib
import fcntl
import ipaddress
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from kit import commands
from kit.plan import Plan, cgroup
from kit.processes import Process, spawn, wait_for

CGROUPS = Path("/sys/fs/cgroup")
# Containerd and kubelet write here whatever they are told; the node's own is empty and in memory.
HIDDEN_FOLDERS = ("/run", "/var/lib", "/var/log")
NETWORKS = [f"10.{n}" for n in range(77, 127)]


class NoNetwork(RuntimeError):
    """Each network that a node could have is in use on this machine."""


def hold(plan: Plan, pause: Path) -> Process:
    """Make the namespaces of a node, as yet without a network.

    Args:
        plan: The cluster.
        pause: The program that becomes the namespaces' first process.

    Returns:
        The process that holds the namespaces; all ends with it.
    """
    kinds = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
    return spawn(["unshare", *kinds, str(pause)], plan.log("node"), forks=True)


def connect(plan: Plan, holder: Process) -> Plan:
    """Give a node its network, private folders and cgroup, and return the plan on that network."""
    _hide_folders(plan, holder)
    with _one_at_a_time(plan.folder.parent / "network.lock"):
        network = _free_network()
        placed = plan.on(network)
        _tie(placed, holder, network)
    _make_cgroups(plan.cgroup)
    return placed


def clear(folder: Path) -> None:
    """Remove what the processes of a cluster leave when they end: interface and cgroup, if any."""
    with contextlib.suppress(FileNotFoundError):
        network = Plan.load(folder).network
        if network:  # the kernel would do it too, a little later
            commands.works(["ip", "link", "del", _interface(network)])
    name = cgroup(folder)
    wait_for(f"the cgroup {name} to be empty", lambda: _remove_cgroups(name), 10)


def enter(holder: Process, argv: Sequence[str], *, fully: bool) -> list[str]:
    """Return the command line that runs another one inside.

    Args:
        holder: The process that holds the namespaces.
        argv: What to run.
        fully: Enter mounts and pids as well; else only the network, with this machine's files.
    """
    kinds = ["--net", "--mount", "--pid"] if fully else ["--net"]
    return ["nsenter", f"--target={holder.pid}", *kinds, "--", *argv]


@contextlib.contextmanager
def _one_at_a_time(file: Path) -> Iterator[None]:
    """Let one process look for a free network and take it, before the next one looks."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _hide_folders(plan: Plan, holder: Process) -> None:
    folders = [f for f in HIDDEN_FOLDERS if not plan.folder.is_relative_to(f)]
    for folder in folders:
        mount = ["mount", "-t", "tmpfs", "tmpfs", folder]
        commands.run(["nsenter", f"--target={holder.pid}", "--mount", "--", *mount])


def _free_network() -> str:
    routes = json.loads(commands.run(["ip", "-json", "-4", "route", "show", "table", "all"]))
    used = [
        ipaddress.ip_network(route["dst"], strict=False)
        for route in routes
        if route["dst"] != "default"
    ]
    for network in NETWORKS:
        wanted = ipaddress.ip_network(f"{network}.0.0/16")
        if not any(wanted.overlaps(other) for other in used):
            return network
    raise NoNetwork(f"every network from {NETWORKS[0]} to {NETWORKS[-1]} is routed already")


def _interface(network: str) -> str:
    """Return the name of this machine's end of the pair."""
    return f"kt{network.rpartition('.')[2]}"


def _tie(plan: Plan, holder: Process, network: str) -> None:
    """Give the node its bridge and tie that to this machine."""
    interface = _interface(network)
    outside = [
        f"link add {interface} type veth peer name host0 netns {holder.pid}",
        f"addr add {plan.host_address}/24 dev {interface}",
        f"link set {interface} up",
        f"route add {network}.0.0/16 via {plan.address}",
    ]
    inside = [
        "link set lo up",
        "link add node0 type bridge",  # a dummy device would do, but some kernels have none
        f"addr add {plan.address}/24 dev node0",
        "link set host0 master node0",
        "link set host0 up",
        "link set node0 up",
        f"route add {plan.services} dev node0",
    ]
    commands.run(["ip", "-batch", "-"], "\n".join(outside))
    commands.run(enter(holder, ["ip", "-batch", "-"], fully=False), "\n".join(inside))
    forward = "echo 1 > /proc/sys/net/ipv4/ip_forward"
    commands.run(enter(holder, ["sh", "-c", forward], fully=False))


def _cgroup_folders(name: str) -> list[Path]:
    """Return the folder of a cgroup in each hierarchy that is mounted."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS / name]
    return [f / name for f in CGROUPS.iterdir() if f.is_dir() and not f.is_symlink()]


def cgroups_are_ours() -> bool:
    """Say whether this process may make cgroups; in a container it often may not."""
    return all(os.access(folder.parent, os.W_OK) for folder in _cgroup_folders("any"))


def _make_cgroups(name: str) -> None:
    _share_controllers()
    for folder in _cgroup_folders(name):
        folder.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (folder / file).exists() and not (folder / "cgroup.controllers").exists():
                # version 1 starts with none, and then no process may join
                (folder / file).write_text((folder.parent / file).read_text())


def _share_controllers() -> None:
    """Let child cgroups of version 2 have what the root has; kubelet asks for all of it."""
    with contextlib.suppress(OSError):  # version 1 has no such file, and some may be in use
        for controller in (CGROUPS / "cgroup.controllers").read_text().split():
            with contextlib.suppress(OSError):
                (CGROUPS / "cgroup.subtree_control").write_text(f"+{controller}")


def _remove_cgroups(name: str) -> bool:
    """Remove a cgroup with all below it; say whether it is gone."""
    left = False
    for top in _cgroup_folders(name):
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                Path(folder).rmdir()
            except FileNotFoundError:
                pass
            except OSError:  # its last process is still on its way out
                left = True
    return not left
