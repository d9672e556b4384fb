"""Whether files are whole GGUF files, and whether shards are a whole set."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from tiergarten_api import gguf
from tiergarten_api.gguf import Header
from tiergarten_fetch.errors import FetchFailed, NotFound, NotGGUF
from tiergarten_fetch.results import MODEL, File

SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def header(stream: BinaryIO, name: str, size: int) -> Header:
    """Return the header of a GGUF file that is not cut.

    Args:
        stream: The file, from its first byte.
        name: Its name, for messages.
        size: Its size in bytes.

    Raises:
        NotGGUF: If it is none, of a version that we do not read, or shorter than its tensors.
    """
    try:
        found = gguf.read_header(stream)
    except gguf.NotGGUF as error:
        raise NotGGUF(f"{name}: {error}") from error
    if size < found.file_bytes:
        raise NotGGUF(f"{name}: cut after {size} of {found.file_bytes} bytes; fetch it again")
    return found


def header_of(path: Path, name: str) -> Header:
    """Return the header of a GGUF file on disk."""
    try:
        with path.open("rb") as stream:
            return header(stream, name, path.stat().st_size)
    except OSError as error:
        raise FetchFailed(f"{name}: {error.strerror}; it must be readable for this user") from error


def check_names(names: Sequence[str]) -> None:
    """Refuse names of shards that are not a whole set, in order, before anything is fetched.

    Args:
        names: The files of the role Model, in load order.

    Raises:
        NotFound: If a shard is missing, twice there, or out of order.
    """
    match = SHARD.fullmatch(names[0]) if names else None
    if match is None:
        return
    count = int(match["count"])
    whole = [f"{match['stem']}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]
    if list(names) != whole:
        odd = next((name for name in whole if name not in names), "all, but in another order")
        raise NotFound(f"model.files: name the {count} shards in order; missing: {odd}")


def check_shards(files: Sequence[File]) -> Header:
    """Return the header of the whole model, once its files are all of it.

    Raises:
        NotFound: If there are fewer or more files than the headers tell of, or in another order.
    """
    headers = [file.header for file in files if file.role == MODEL]
    try:
        whole = gguf.combined(headers)
    except gguf.NotGGUF as error:
        raise NotFound(f"model.files: {error}") from error
    if headers[0].split_no != 0:
        raise NotFound("model.files: name the first shard first")
    return whole
