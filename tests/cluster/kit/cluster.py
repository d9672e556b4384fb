"""A test cluster as a test sees it: its API, its pods, and the verbs that break and heal its parts.

`lifecycle` makes and ends clusters; a cluster that somebody else runs (`KUBECONFIG_TEST`) is a
`Cluster` without a plan, which has no parts to break.
"""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import httpx

from kit import api, build, certs, commands, parts, sandbox, volumes
from kit.containerd import Containerd
from kit.errors import Failed, Missing
from kit.etcd import Etcd
from kit.plan import Plan
from kit.processes import Process, spawn, wait_for
from kit.register import Register

# These work on the node's mounts and processes; the others only need its network.
NODE_PARTS = ("containerd", "kubelet")
STORE = ("etcd", "kube-apiserver")  # what the other parts watch
NODE = "node"
START_SECONDS = 90
GRACE_SECONDS = 10
LOG_LINES = 20
PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Cluster:
    """A cluster that runs.

    Args:
        kubeconfig: The administrator's.
        level: What it can show, 1 to 3.
        plan: What it is made of; None if it is not ours.
    """

    def __init__(self, kubeconfig: Path, level: int, plan: Plan | None = None) -> None:
        self.kubeconfig, self.level, self._plan = kubeconfig, level, plan
        self._was_away = False  # what the other parts watch, since `heal` was last called

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the client; the cluster runs on."""
        if "api" in vars(self):  # it was asked for
            self.api.close()

    @cached_property
    def api(self) -> httpx.Client:
        """A client of the API server, as administrator."""
        return api.client(self.kubeconfig)

    @property
    def plan(self) -> Plan:
        """What it is made of.

        Raises:
            Missing: It is not ours.
        """
        if self._plan is None:
            raise Missing("a cluster of the tests' own, instead of KUBECONFIG_TEST,")
        return self._plan

    @cached_property
    def register(self) -> Register:
        """What runs for it."""
        return Register(self.plan.folder)

    @property
    def owned(self) -> bool:
        """Whether its parts are ours."""
        return self._plan is not None

    @property
    def host_address(self) -> str:
        """The address at which pods and API server reach a server that the test runs."""
        return self.plan.host_address

    # What a test does with it.

    def exec(self, argv: Sequence[str], *, given: str = "", seconds: float = 60) -> str:
        """Run a program of this machine in the node's network, with KUBECONFIG set.

        Args:
            argv: The command line.
            given: Its input.
            seconds: How long it may take.

        Returns:
            What it wrote to its output.

        Raises:
            Failed: It ended with another status than 0.
        """
        env = {"KUBECONFIG": str(self.kubeconfig)}
        return commands.run(self.inside(argv), given, env=env, seconds=seconds)

    def inside(self, argv: Sequence[str], *, fully: bool = False) -> list[str]:
        """Return the command line that runs another one in the node's network.

        Args:
            argv: What to run.
            fully: With the node's mounts and processes as well.
        """
        node = self.register.all().get(NODE) if self._plan else None
        return sandbox.enter(node, argv, fully=fully) if node else list(argv)

    @cached_property
    def containerd(self) -> Containerd:
        """The node's containerd, which images are loaded into."""
        inside = partial(self.inside, fully=True)
        return Containerd(build.containerd() / "ctr", self.plan.containerd, inside)

    def kubeconfig_of(self, namespace: str, service_account: str) -> Path:
        """Write a kubeconfig for a service account, good for an hour, and return its path."""
        user = {"token": api.token(self.api, namespace, service_account)}
        file = self.plan.pki / f"{namespace}.{service_account}.kubeconfig"
        certs.write_kubeconfig(file, self.plan.addresses, user)
        return file

    def claim(self, namespace: str, name: str, files: Mapping[str, Path]) -> None:
        """Make a claim whose volume holds copies of files, by the paths that they get there."""
        volumes.claim(self.api, self._volumes, namespace, name, files)

    def offer_volumes(self) -> None:
        """Make the storage class and the volumes that claims are bound to."""
        volumes.offer(self.api, self._volumes)

    @property
    def _volumes(self) -> Path:
        return self.plan.folder / "volumes"

    def audit(self) -> list[dict[str, Any]]:
        """Return what service accounts asked of the API server, as audit events, oldest first."""
        return [json.loads(line) for line in self.plan.log("audit").read_text().splitlines()]

    @cached_property
    def etcd(self) -> Etcd:
        """The etcd behind its API server."""
        return Etcd(self.plan.etcd)

    # What a test does to it.

    def freeze(self, part: str) -> None:
        """Stop a part from running without ending it: connections stay open, nothing answers."""
        self._was_away |= part in STORE
        self._process(part).signal(signal.SIGSTOP)

    def thaw(self, part: str) -> None:
        """Let a frozen part go on."""
        self._process(part).signal(signal.SIGCONT)

    @contextlib.contextmanager
    def frozen(self, part: str) -> Iterator[None]:
        """Freeze a part for as long as the block runs."""
        self.freeze(part)
        try:
            yield
        finally:
            self.thaw(part)

    def stop(self, part: str) -> None:
        """End a part as an administrator would, with time to say good-bye."""
        self._was_away |= part in STORE
        self._process(part).end(GRACE_SECONDS)

    def kill(self, part: str) -> None:
        """End a part at once."""
        self._was_away |= part in STORE
        self._process(part).kill()

    def start(self, part: str) -> None:
        """Start a part and wait until it answers."""
        self.launch(part)
        self.wait_until_ready(part)

    def restart(self, part: str) -> None:
        """End a part and start it again."""
        self.stop(part)
        self.start(part)

    def heal(self) -> None:
        """Thaw what is frozen, start what ended, and empty the volumes that nobody claims.

        Kubernetes' own parts look for an API server that was away again with a back-off of up to a
        minute (kubelet and kube-proxy were seen 70 s behind), so those that watch it start anew.
        """
        if self._plan is None:
            return
        for part in self._plan.parts:
            if self.runs(part):
                self.thaw(part)
            else:
                self.start(part)
        if self._was_away:
            for part in self._plan.parts:
                if part not in (*STORE, "containerd"):
                    self.restart(part)
            self._was_away = False
        if self.level > 1:
            volumes.recycle(self.api, self._volumes)

    def runs(self, part: str) -> bool:
        """Say whether a part runs; a frozen one does."""
        process = self.register.all().get(part)
        return bool(process and process.alive)

    def log(self, part: str) -> str:
        """Return all that a part has written."""
        return self.plan.log(part).read_text(errors="replace")

    # How its parts run; called by `lifecycle`.

    def launch(self, part: str) -> None:
        """Start a part without waiting for it."""
        node, command = self.register.all().get(NODE), parts.command(self.plan, part)
        fully = bool(node) and part in NODE_PARTS
        folders = [str(build.containerd())] if node else []
        paths = ":".join([*folders, os.environ.get("PATH", ""), PATHS])
        env = {"PATH": paths, "HOME": str(self.plan.folder)}
        words = sandbox.enter(node, command, fully=fully) if node else command
        self.register.remember(part, spawn(words, self.plan.log(part), env, forks=fully))

    def wait_until_ready(self, part: str) -> None:
        """Wait until a part answers; the ones that nobody asks count at once.

        Raises:
            Failed: It ended instead.
        """
        probes: dict[str, Callable[[], bool]] = {
            "etcd": self.etcd.answers,
            "kube-apiserver": lambda: api.answers(self.api, "/readyz"),
            "containerd": self.containerd.answers,
        }

        def ready() -> bool:
            if not self.runs(part):
                raise Failed(f"{part} ended:\n{self._last_words(part)}")
            return part not in probes or probes[part]()

        wait_for(f"{part}, see {self.plan.log(part)}", ready, START_SECONDS)

    def _process(self, part: str) -> Process:
        return self.register.all()[part]

    def _last_words(self, part: str) -> str:
        return "\n".join(self.log(part).splitlines()[-LOG_LINES:])
