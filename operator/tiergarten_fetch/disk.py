"""Writes that survive a power cut, and the errors of a full disk."""

import errno
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tiergarten_fetch.errors import FetchFailed, NoSpace

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what the operating system raises inside the block into our errors."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise NoSpace(
                f"{path}: the file system is full; raise cache.size, or free space"
            ) from error
        word = errno.errorcode.get(error.errno or 0, type(error).__name__)
        raise FetchFailed(
            f"{path}: {word}; the folder must be there and writable for this user"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a rename is not, until its folder is synced."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a small file whole or not at all."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def read_json(path: Path) -> Mapping[str, object]:
    """Return a small file's object; empty if it is not there or broken."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def hard_link(blob: Path, name: Path) -> None:
    """Give a file a second name."""
    name.hardlink_to(blob)


def place(blob: Path, path: Path, *, link: Callable[[Path, Path], None] = hard_link) -> None:
    """Give a blob a second name, in place of whatever has the name now.

    It is a hard link, because pods mount the folder of `path` alone: a symbolic link would lead
    out of it. Where the file system has no hard links, the blob is moved, and is not shared.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        link(blob, fresh)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        blob.replace(path)
    else:
        fresh.replace(path)
        fresh.unlink(missing_ok=True)  # rename does nothing if both are the same file
    sync_folder(path.parent)
