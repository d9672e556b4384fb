"""The node's containerd: whether it answers, and how images get into it."""

import contextlib
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from kit import commands, oci
from kit.errors import Failed


class Containerd:
    """A containerd.

    Args:
        ctr: The program that speaks to it.
        address: Its socket.
        inside: Turns a command line into one that runs among the node's mounts and processes.
    """

    def __init__(
        self, ctr: Path, address: Path, inside: Callable[[Sequence[str]], list[str]]
    ) -> None:
        self._program, self._address, self._inside = ctr, address, inside

    def answers(self) -> bool:
        """Say whether somebody listens."""
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self._address))
            return True
        return False

    def load(self, images: Sequence[oci.Image]) -> None:
        """Put images in; layers that are there already are not sent again."""
        has = {line.removeprefix("sha256:") for line in self._ctr("content", "ls", "-q").split()}
        command = self._command("images", "import", "-")
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as importer:
            assert importer.stdin
            assert importer.stderr
            with contextlib.suppress(BrokenPipeError), importer.stdin:
                oci.write(importer.stdin, images, has)
            said = importer.stderr.read().decode()
        if importer.returncode:
            raise Failed(f"ctr images import ended with {importer.returncode}: {said}")

    def load_archive(self, file: Path) -> None:
        """Put in the images of an OCI archive."""
        self._ctr("images", "import", str(file.resolve()))

    def pin(self, reference: str) -> str:
        """Give an image a name with its digest as well, and return that."""
        for line in self._ctr("images", "ls").splitlines():
            if line.split()[0] == reference:
                pinned = f"{reference.rpartition(':')[0]}@{line.split()[2]}"
                self._ctr("images", "tag", "--force", reference, pinned)
                return pinned
        raise Failed(f"{reference} is not in the node")

    def kill(self, container: str) -> None:
        """End a container's process at once, as the kernel does when memory runs out."""
        self._ctr("tasks", "kill", "--signal", "SIGKILL", container)

    def _ctr(self, *words: str) -> str:
        return commands.run(self._command(*words))

    def _command(self, *words: str) -> list[str]:
        ctr = [str(self._program), "--address", str(self._address), "--namespace", "k8s.io", *words]
        return self._inside(ctr)
