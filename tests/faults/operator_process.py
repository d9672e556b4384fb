"""An operator as a process of its own, to be killed and frozen."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kit.cluster import Cluster

COMMAND = [sys.executable, "-m", "tiergarten_operator"]


@dataclass
class OperatorProcess:
    """One operator.

    Attributes:
        process: Its process.
        log: The file that it writes to.
        url: Where its endpoints are.
    """

    process: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    @property
    def leads(self) -> bool:
        """Whether it has said that it is the leader."""
        return '"event": "leading"' in self.log.read_text()


@contextlib.contextmanager
def running(cluster: Cluster, folder: Path, *words: str) -> Iterator[OperatorProcess]:
    """Run the program until the block ends; yield it once it serves its endpoints."""
    env = os.environ | {"TIERGARTEN_HTTP_PORT": "0", "TIERGARTEN_LOG_FORMAT": "json"}
    command = [*COMMAND, "--kubeconfig", str(cluster.kubeconfig), *words]
    log = folder / f"operator-{len(list(folder.iterdir()))}.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stderr=stderr, env=env)
    found = OperatorProcess(process, log)
    try:
        while not (port := re.search(r'"port": (\d+)', log.read_text())):
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        found.url = f"http://127.0.0.1:{port[1]}"
        yield found
    finally:
        process.kill()
        process.wait(30)
