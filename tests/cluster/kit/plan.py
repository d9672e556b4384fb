"""What a cluster is to be: its level, its folder, and the addresses and ports of its parts.

A plan is made once, at `up`, and kept in the cluster's folder, so that another process finds the
cluster again. Levels up to 2 listen on loopback with free ports and need no root. From level 3 on a
cluster has a network of its own, and its ports are the usual ones.
"""

import contextlib
import json
import random
import socket
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Self

from kit.certs import Addresses

NODE = "node-a"
PORTS = (20_000, 32_000)  # Linux gives connections those from 32768 on
LEVELS: dict[int, tuple[str, ...]] = {
    1: ("etcd", "kube-apiserver"),
    2: ("etcd", "kube-apiserver", "kube-controller-manager"),
    3: (
        "etcd",
        "containerd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
    ),
}


@dataclass(frozen=True)
class Ports:
    """The TCP ports of the parts that are asked for something; the others choose their own."""

    etcd: int = 2379
    etcd_peers: int = 2380
    api: int = 6443
    controller_manager: int = 10257


@dataclass(frozen=True)
class Plan:
    """A cluster.

    Attributes:
        folder: Holds all that it writes; removed when it goes down.
        level: 1: API server; 2: and controller manager; 3: and a node that runs pods.
        programs: The path of `kt`, or a folder with `etcd` and `kube-apiserver` in it.
        ports: Where the parts listen.
        network: The first two numbers of its own network, such as "10.77"; None for loopback.
    """

    folder: Path
    level: int
    programs: Path
    ports: Ports
    network: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts, in the order of their start."""
        return LEVELS[self.level]

    @property
    def address(self) -> str:
        """Where the API server listens; the node's address, if there is a node."""
        return f"{self.network}.0.1" if self.network else "127.0.0.1"

    @property
    def host_address(self) -> str:
        """Where pods and the API server reach the process that runs the tests."""
        return f"{self.network}.0.254" if self.network else "127.0.0.1"

    @property
    def pods(self) -> str:
        """The pods' addresses."""
        return f"{self.network or '10.77'}.1.0/24"

    @property
    def services(self) -> str:
        """The Services' addresses."""
        return f"{self.network or '10.77'}.128.0/17"

    @property
    def addresses(self) -> Addresses:
        """What the certificates are made for."""
        service = f"{self.network or '10.77'}.128.1"
        return Addresses(self.address, self.ports.api, service, NODE)

    @property
    def etcd(self) -> str:
        """Etcd's URL."""
        return f"http://{self.address}:{self.ports.etcd}"

    @property
    def pki(self) -> Path:
        """The folder of certificates and kubeconfigs."""
        return self.folder / "pki"

    @property
    def configs(self) -> Path:
        """The folder of the parts' configuration files."""
        return self.folder / "etc"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.pki / "admin.kubeconfig"

    @property
    def containerd(self) -> Path:
        """The socket of containerd."""
        return self.folder / "containerd.sock"

    @property
    def cgroup(self) -> str:
        """The name of the cgroup that holds the node's pods."""
        return cgroup(self.folder)

    def log(self, part: str) -> Path:
        """Return the file with a part's output."""
        return self.folder / "log" / f"{part}.log"

    def on(self, network: str) -> Self:
        """Return the plan on a network of its own."""
        return replace(self, network=network)

    def save(self) -> None:
        """Write the plan into its folder."""
        (self.folder / "plan.json").write_text(json.dumps(asdict(self), default=str))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the plan in a folder.

        Raises:
            FileNotFoundError: There is none.
        """
        saved = json.loads((folder / "plan.json").read_text())
        saved |= {"folder": folder, "programs": Path(saved["programs"])}
        return cls(**saved | {"ports": Ports(**saved["ports"])})


def cgroup(folder: Path) -> str:
    """Return the name of the cgroup of the cluster in a folder."""
    return f"kt-{folder.name}"


def free_ports() -> Ports:
    """Return ports of the loopback address that nobody listens on.

    They lie below those that the kernel gives to connections: a part that is restarted needs its
    port again, and a connection of any program could hold it by then.
    """
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < len(fields(Ports)):
            with contextlib.suppress(OSError):  # taken: another one is drawn
                port = random.randint(*PORTS)  # noqa: S311 -- to keep out of others' way, no secret
                sockets.append(socket.create_server(("127.0.0.1", port)))
        return Ports(*(s.getsockname()[1] for s in sockets))
    finally:
        for s in sockets:
            s.close()
