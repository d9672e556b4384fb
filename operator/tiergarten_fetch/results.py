"""What a fetch tells: progress while it runs, and the files at its end."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tiergarten_api.gguf import Header

MODEL = "Model"


class Doing(enum.StrEnum):
    """What a fetch does with a file at the moment."""

    WAITING = "waiting"
    FETCHING = "fetching"
    CHECKING = "checking"
    RETRYING = "retrying"
    DONE = "done"


@dataclass(frozen=True)
class Progress:
    """How far a file is.

    Attributes:
        file: The file's name in the spec.
        fetched_bytes: Bytes of it that are on disk, or hashed while it is checked.
        total_bytes: Its size; None while the source has not told it.
        doing: Waiting for another fetch, fetching, checking, waiting to try again, or done.
        note: Why it is tried again, for people.
    """

    file: str
    fetched_bytes: int
    total_bytes: int | None
    doing: Doing = Doing.FETCHING
    note: str = ""


Report = Callable[[Progress], None]


def unheard(_progress: Progress) -> None:
    """Drop the progress that nobody asked for."""


@dataclass(frozen=True)
class File:
    """A file that is there and checked.

    Attributes:
        name: As the spec names it, or found in the folder.
        role: Model, Projector, Draft or Adapter.
        path: Where it lies.
        size: In bytes.
        sha256: Of its bytes; None if nobody gave one for a file of a volume.
        header: What its GGUF header says.
    """

    name: str
    role: str
    path: Path
    size: int
    sha256: str | None
    header: Header


@dataclass(frozen=True)
class Result:
    """A model whose files are all there.

    Attributes:
        folder: The folder that holds the files under their names.
        files: In load order.
        header: What the headers of the model's shards say together.
        resolved_revision: The commit that the hub's revision stands for; None for other sources.
    """

    folder: Path
    files: tuple[File, ...]
    header: Header
    resolved_revision: str | None = None

    @property
    def model(self) -> File:
        """The model's file, the first of its shards."""
        return next(file for file in self.files if file.role == MODEL)

    @property
    def digest(self) -> str | None:
        """What tells the model from any other: the sha256 of its one file, or of all their sha256.

        None if a file of a volume has no sha256 given.
        """
        hashes = [file.sha256 for file in self.files if file.sha256 is not None]
        if len(hashes) < len(self.files):
            return None
        return hashes[0] if len(hashes) == 1 else sha256("".join(hashes).encode()).hexdigest()

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(file.size for file in self.files)
