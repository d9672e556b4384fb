"""What makes a llama-server what it is: program, command line, environment and model files.

A running one with another template must be replaced; scaling and routing facts are no part of it.
`builder` makes them.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Self

# Ours and the server's own settings, which must come from the tier alone, and the user's tokens.
_KEPT_FROM_CHILDREN = ("TIERGARTEN_", "LLAMA_", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(frozen=True, slots=True)
class File:
    """A file that a server maps, as it was when it was looked at.

    Attributes:
        path: Where it is.
        size_bytes: Its size.
        modified_ns: When it was written.
    """

    path: Path
    size_bytes: int
    modified_ns: int

    @classmethod
    def at(cls, path: Path) -> Self:
        """Look at a file.

        Raises:
            OSError: If it is not there.
        """
        stat = path.stat()
        return cls(path, stat.st_size, stat.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Template:
    """All that a replica is started from, but its port.

    Attributes:
        argv: Program and arguments, with any value after `--port`.
        env: What the tier adds to the environment; may hold an API key.
        files: The files that the arguments name.
    """

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    files: tuple[File, ...] = ()

    @property
    def api_key(self) -> str:
        """The key that the server wants, empty when it wants none."""
        return dict(self.env).get("LLAMA_API_KEY", "").split(",")[0]

    @property
    def revision(self) -> str:
        """A digest of program, arguments and files: the same for replicas that answer alike."""
        return hashlib.sha256(repr((self.argv, self.files)).encode()).hexdigest()

    def command(self, port: int) -> list[str]:
        """Return the command line for one port."""
        after = pairwise(("", *self.argv))
        return [str(port) if flag == "--port" else word for flag, word in after]

    def environment(self, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        """Return a replica's whole environment.

        Args:
            base: This program's own, from which settings and tokens are left out.
        """
        kept = {name: value for name, value in base.items()
                if not name.startswith(_KEPT_FROM_CHILDREN)}  # fmt: skip
        return kept | dict(self.env)
