"""The part of a file that has come so far: `blobs/<name>.partial`, and beside it its ETag.

A partial survives the process. It is continued only under the strong ETag that it began with, and
hashed again from its first byte when it is opened, so that the hash is always that of the bytes on
disk. Two processes never write the same partial: its file is locked (`flock`), and if a process
that lost its `locks.Lock` still writes, a fresh file takes the name.
"""

import fcntl
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from tiergarten_fetch import disk
from tiergarten_fetch.hashing import PIECE

MAGIC = b"GGUF"


class Partial:
    """An open partial file. Its methods block.

    Args:
        path: Where it lies.

    Attributes:
        size: Bytes that it holds.
        etag: The strong ETag that these bytes have; None if they cannot be continued.
        resumed: Whether some of the bytes are of an earlier process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tag_path = path.with_name(f"{path.name}.json")
        self._hash = hashlib.sha256()
        self.size = 0
        with disk.translated(path):
            self._file = _ours(path)
        tag = disk.read_json(self._tag_path).get("etag")
        self.etag = tag if isinstance(tag, str) else None
        self.resumed = False

    @property
    def sha256(self) -> str:
        """The hash of all bytes so far."""
        return self._hash.hexdigest()

    def load(self, longest: int | None, hashed: Callable[[int], None]) -> None:
        """Hash what an earlier process left, or drop it if it cannot be continued.

        Args:
            longest: The whole file's size; more than that is dropped. None: not known.
            hashed: Called with the bytes hashed so far.
        """
        with disk.translated(self._path):
            left = self._file.seek(0, io.SEEK_END)
            if self.etag is None or (longest is not None and left > longest):
                self.restart(None)
                return
            self._file.seek(0)
            while piece := self._file.read(PIECE):
                self._hash.update(piece)
                self.size += len(piece)
                hashed(self.size)
            self.resumed = self.size > 0

    def restart(self, etag: str | None) -> None:
        """Begin anew, under an ETag."""
        with disk.translated(self._path):
            self._file.seek(0)
            self._file.truncate()
            disk.write_json(self._tag_path, {"etag": etag})
        self._hash = hashlib.sha256()
        self.size, self.etag, self.resumed = 0, etag, False

    def write(self, piece: bytes) -> None:
        """Append bytes."""
        with disk.translated(self._path):
            rest = memoryview(piece)
            while rest:
                rest = rest[self._file.write(rest) :]
        self._hash.update(piece)
        self.size += len(piece)

    def reader(self) -> BinaryIO:
        """Return a stream over the bytes on disk."""
        return self._path.open("rb")

    def commit(self, blob: Path) -> None:
        """Make the file durable and give it its final name, the one step that does so."""
        with disk.translated(self._path):
            os.fsync(self._file.fileno())
            if not self._named():
                raise FileNotFoundError(2, "another process took the partial over", self._path)
            self._path.replace(blob)
            disk.sync_folder(blob.parent)
            self._tag_path.unlink(missing_ok=True)

    def drop(self) -> None:
        """Delete the file: its bytes are worth nothing."""
        if self._named():
            self._path.unlink()
            self._tag_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Keep the file for a later process."""
        self._file.close()

    def _named(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False


def _ours(path: Path) -> io.FileIO:
    """Open the file, or a fresh one if a process that lost its lock still has it."""
    file = _open(path)
    if _locked(file):
        return file
    file.close()
    path.unlink(missing_ok=True)
    file = _open(path)
    _locked(file)
    return file


def _open(path: Path) -> io.FileIO:
    return io.FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+")


def _locked(file: io.FileIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without locks: the heartbeat has to do
    return True
