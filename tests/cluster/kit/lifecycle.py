"""Makes clusters and ends them, and cleans up after runs that could not.

Each cluster has a folder of its own in the cache. A run that uses one notes itself there; a
cluster whose users are all gone is a leftover of a crash, and goes down before the next one starts.
One that is `kept` notes nobody and stays until it is asked to go.
"""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx

from kit import build, certs, configs, machine, oci, sandbox
from kit.cluster import NODE, Cluster
from kit.plan import NODE as NODE_NAME
from kit.plan import Plan, Ports, free_ports
from kit.processes import Process, this_process, wait_for
from kit.register import Register

CLUSTERS = build.CACHE / "clusters"
READY_SECONDS = 90
SERVICE_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"


def up(folder: Path, level: int, assets: Path | None = None, *, kept: bool = False) -> Cluster:
    """Return the cluster of a folder, started if it does not run.

    Args:
        folder: Gets all that the cluster writes.
        level: 1: API server; 2: and controller manager; 3: and a node.
        assets: A folder with `etcd` and `kube-apiserver` to use at level 1, instead of `kt`.
        kept: It stays up when this process ends.

    Returns:
        The cluster, when it is ready.

    Raises:
        Missing: This machine cannot run it.
    """
    if not assets:
        machine.prepare(level)
        build.kt()  # minutes, the first time; nobody else need wait for it
        build.pause()
        if level >= 3:
            build.containerd()
    with _one_at_a_time():
        _sweep()
        cluster = find(folder)
        if cluster is None or cluster.level != level:
            _end(folder)
            cluster = _start(folder, level, assets, kept=kept)
        if not kept:
            _join(folder)
        return cluster


def find(folder: Path) -> Cluster | None:
    """Return the cluster of a folder, if all its parts run."""
    try:
        plan = Plan.load(folder)
    except FileNotFoundError:
        return None
    cluster = Cluster(plan.kubeconfig, plan.level, plan)
    return cluster if all(cluster.runs(part) for part in plan.parts) else None


def down(folder: Path) -> None:
    """End the cluster of a folder, whatever is left of it, and remove the folder."""
    with _one_at_a_time():
        _end(folder)


def leave(folder: Path) -> None:
    """Take this process out of the users of a cluster; the last one ends it."""
    with _one_at_a_time():
        (folder / "users" / f"{this_process().pid}").unlink(missing_ok=True)
        if not _users(folder):
            _end(folder)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    CLUSTERS.mkdir(parents=True, exist_ok=True)
    with (CLUSTERS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start(folder: Path, level: int, assets: Path | None, *, kept: bool) -> Cluster:
    (folder / "log").mkdir(parents=True)
    if not kept:
        _join(folder)
    ports = Ports() if level >= 3 else free_ports()
    plan = Plan(folder.resolve(), level, assets or build.kt(), ports)
    try:
        if level >= 3:
            plan = _open_node(plan)
        plan.save()
        certs.write_all(plan.pki, plan.addresses)
        kind = machine.snapshotter(folder)
        configs.write_all(plan, open_files=machine.open_files(), snapshotter=kind)
        return _start_parts(plan)
    except BaseException:  # also a keyboard interrupt leaves nothing behind
        _end(folder)
        raise


def _open_node(plan: Plan) -> Plan:
    holder = sandbox.hold(plan, build.pause())
    Register(plan.folder).remember(NODE, holder)
    return sandbox.connect(plan, holder)


def _start_parts(plan: Plan) -> Cluster:
    cluster = Cluster(plan.kubeconfig, plan.level, plan)
    try:
        _start_in_order(cluster)
    except BaseException:
        cluster.close()
        raise
    return cluster


def _start_in_order(cluster: Cluster) -> None:
    """Start everything in as few steps as what depends on what allows."""
    early = [part for part in cluster.plan.parts if part in ("etcd", "containerd")]
    late = [p for p in cluster.plan.parts if p not in (*early, "kube-apiserver")]
    for part in early:
        cluster.launch(part)
    cluster.wait_until_ready("etcd")
    cluster.launch("kube-apiserver")
    if cluster.level >= 3:
        cluster.wait_until_ready("containerd")
        cluster.containerd.load([_pause_image(cluster.plan.folder)])
    cluster.wait_until_ready("kube-apiserver")
    for part in late:
        cluster.launch(part)
    if cluster.level >= 2:
        cluster.offer_volumes()
        wait_for("the default service account", lambda: _has_account(cluster.api), READY_SECONDS)
    if cluster.level >= 3:
        wait_for("the node to be ready", lambda: _node_is_ready(cluster.api), READY_SECONDS)


def _has_account(api: httpx.Client) -> bool:
    return api.get(SERVICE_ACCOUNT).is_success


def _node_is_ready(api: httpx.Client) -> bool:
    answer = api.get(f"/api/v1/nodes/{NODE_NAME}")
    conditions = answer.json()["status"].get("conditions", []) if answer.is_success else []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _pause_image(folder: Path) -> oci.Image:
    root = folder / "pause"
    root.mkdir()
    shutil.copy(build.pause(), root / "pause")
    layer = oci.pack(root, folder / "pause.tar")
    return oci.Image(configs.PAUSE_IMAGE, (layer,), ("/pause",), user="65535:65535")


def _end(folder: Path) -> None:
    """End what a folder's register knows. Nothing is asked politely: nothing of it is kept."""
    if not folder.exists():
        return
    processes = Register(folder).all()
    for process in processes.values():
        process.kill()
    sandbox.clear(folder)
    shutil.rmtree(folder)


def _sweep() -> None:
    for users in CLUSTERS.glob("*/users"):
        if not _users(users.parent):
            _end(users.parent)


def _join(folder: Path) -> None:
    me = this_process()
    (folder / "users").mkdir(exist_ok=True)
    (folder / "users" / f"{me.pid}").write_text(json.dumps([me.pid, me.born, me.parent]))


def _users(folder: Path) -> list[Process]:
    """Return the processes that use a cluster and still run."""
    files = (folder / "users").iterdir() if (folder / "users").is_dir() else ()
    noted = [Process(*json.loads(file.read_text())) for file in files]
    return [process for process in noted if process.alive]
