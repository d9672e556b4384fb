"""The list of what runs for a cluster, in its folder, where another process finds it again."""

import contextlib
import json
from pathlib import Path

from kit.processes import Process


class Register:
    """The processes of one cluster.

    Args:
        folder: The cluster's.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "processes.json"

    def all(self) -> dict[str, Process]:
        """Return the processes by the names of their parts, in the order of their first start."""
        with contextlib.suppress(FileNotFoundError):
            known = json.loads(self._file.read_text())
            return {name: Process(*fields) for name, fields in known.items()}
        return {}

    def remember(self, name: str, process: Process) -> None:
        """Note a process under the name of its part."""
        processes = self.all() | {name: process}
        known = {name: (p.pid, p.born, p.parent) for name, p in processes.items()}
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(known))
        new.rename(self._file)
