"""Where the files of models lie in a folder, and how a whole model is told from a part of one.

    blobs/<sha256>              a checked file; shared by all models that have it
    blobs/<sha256>.partial      what has come of it so far
    blobs/<sha256>.lock         held by whoever fetches it
    models/<key>/<name>         the same file under its name in the spec (a hard link)
    models/<key>/.complete      written last: names, sizes, sha256, commit

Pods mount `models/<key>` alone, read-only.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tiergarten_api.v1alpha1 import ModelSpec
from tiergarten_fetch import disk, weights
from tiergarten_fetch.errors import FetchFailed, NotFound, NotGGUF
from tiergarten_fetch.results import File, Result

COMPLETE = ".complete"
KEY_DIGITS = 8


@dataclass(frozen=True)
class Entry:
    """A line of `.complete`."""

    name: str
    size: int
    sha256: str


def key(model: ModelSpec) -> str:
    """Return the name of a model's folder: eight digits of the sha256 over source and files.

    What does not change the bytes stays out: Secrets, roles and the order of files, so that a
    Secret's new name fetches nothing anew.
    """
    source: dict[str, str] = {}
    if model.source.hugging_face is not None:
        source = {"repo": model.source.hugging_face.repo}
        source["revision"] = model.source.hugging_face.revision
    elif model.source.http is not None:
        source = {"url": model.source.http.url}
    files = sorted((file.name, file.sha256 or "") for file in model.files or ())
    text = json.dumps([source, files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def blobs(root: Path) -> Path:
    """Return the folder of checked files."""
    return root / "blobs"


def folder(root: Path, model: ModelSpec) -> Path:
    """Return the folder that a model's files lie in under their names."""
    return root / "models" / key(model)


def path_of(folder_: Path, name: str) -> Path:
    """Return a file's path in a model's folder.

    Raises:
        FetchFailed: If the name would leave the folder.
    """
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or "\0" in name:
        raise FetchFailed(f"model.files[{name!r}]: must be a relative path without '..'")
    return folder_ / parts


def completed(folder_: Path, model: ModelSpec) -> Result | None:
    """Return the model if all of it is in its folder, without asking the source.

    Sizes are looked at, not hashes: those were checked when the files came.
    """
    content = disk.read_json(folder_ / COMPLETE)
    entries = {entry.name: entry for entry in _entries(content)}
    files: list[File] = []
    for spec in model.files or ():
        entry = entries.get(spec.name)
        path = path_of(folder_, spec.name)
        if entry is None or _size(path) != entry.size:
            return None
        try:
            header = weights.header_of(path, spec.name)
        except NotGGUF:  # it was one when it came
            return None
        files.append(File(spec.name, str(spec.role), path, entry.size, entry.sha256, header))
    if not files:
        return None
    revision = content.get("revision")
    known = revision if isinstance(revision, str) else None
    return Result(folder_, tuple(files), weights.check_shards(files), known)


def complete(result: Result) -> None:
    """Write `.complete`: from now on the model is there."""
    entries = [
        {"name": file.name, "size": file.size, "sha256": file.sha256} for file in result.files
    ]
    content = {"revision": result.resolved_revision, "files": entries}
    with disk.translated(result.folder):
        disk.write_json(result.folder / COMPLETE, content)


def check(folder_: Path) -> tuple[Entry, ...]:
    """Return what lies in a model's folder, for a pod that is about to serve it.

    Raises:
        NotFound: If the model is not complete, or a file's size differs from what was fetched.
    """
    content = disk.read_json(folder_ / COMPLETE)
    if not (entries := _entries(content)):
        raise NotFound(f"{folder_}: has no {COMPLETE} file; its fetch has not ended")
    for entry in entries:
        size = _size(path_of(folder_, entry.name))
        if size != entry.size:
            raise NotFound(
                f"{folder_ / entry.name}: has {size} bytes, {entry.size} were fetched; fetch again"
            )
    return entries


def entries(folder_: Path) -> tuple[Entry, ...]:
    """Return what `.complete` lists; empty if the model is not complete."""
    return _entries(disk.read_json(folder_ / COMPLETE))


def _entries(content: Mapping[str, object]) -> tuple[Entry, ...]:
    listed = content.get("files")
    try:
        return tuple(
            Entry(str(one["name"]), int(one["size"]), str(one["sha256"]))
            for one in (listed if isinstance(listed, list) else ())
        )
    except (KeyError, TypeError, ValueError):
        return ()


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
