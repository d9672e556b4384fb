"""Packs folders into layers and layers into an OCI image archive; no image tool and no registry.

Layers are uncompressed: they are written and read on one machine, where packing costs more than
disk. Each is packed once and kept with its digest.
"""

import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

MEDIA = "application/vnd.oci.image"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Layer:
    """A packed folder.

    Attributes:
        file: The tar.
        digest: Its sha256, in hexadecimal.
        size: Its bytes.
    """

    file: Path
    digest: str
    size: int


@dataclass(frozen=True)
class Image:
    """An image: its full name, its layers from the lowest up, and how it runs."""

    name: str
    layers: tuple[Layer, ...]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    user: str = "65532:65532"
    folder: str = "/"


def packed(file: Path) -> Layer | None:
    """Return the layer that was packed into a file before, or None."""
    try:
        layer = Layer(file=file, **json.loads(file.with_suffix(".json").read_text()))
        os.utime(file)  # it is of use
    except FileNotFoundError:
        return None
    return layer


def forget(files: Iterable[Path], unused_seconds: float) -> None:
    """Remove the layers that nobody asked for in a time."""
    oldest = time.time() - unused_seconds
    for file in files:
        if file.stat().st_mtime < oldest:
            file.with_suffix(".json").unlink(missing_ok=True)
            file.unlink()


def pack(folder: Path, file: Path, *, keep_times: bool = False) -> Layer:
    """Pack a folder into a tar, with root as the owner of all.

    Args:
        folder: What becomes the layer's root.
        file: The tar to write; a `.json` beside it gets the digest.
        keep_times: Keep modification times, which Python's compiled files are checked against.
            Without, equal folders give equal digests.

    Returns:
        The layer.
    """

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = int(entry.mtime) if keep_times else 0
        return entry

    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.{os.getpid()}")
    with tarfile.open(new, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            tar.add(path, str(path.relative_to(folder)), recursive=False, filter=plain)
    with new.open("rb") as done:
        digest = hashlib.file_digest(done, "sha256").hexdigest()
    layer = Layer(file, digest, new.stat().st_size)
    new.rename(file)
    facts = {"digest": layer.digest, "size": layer.size}
    file.with_suffix(".json").write_text(json.dumps(facts))
    return layer


def write(out: IO[bytes], images: Iterable[Image], without: Collection[str] = ()) -> None:
    """Write an archive of images.

    Args:
        out: Where to; need not be seekable.
        images: What it holds.
        without: Digests of layers that the reader has already and that are left out.
    """
    written = set(without)
    with tarfile.open(fileobj=out, mode="w|") as tar:
        manifests = [_add_image(tar, image, written) for image in images]
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": manifests}))


def _add_image(tar: tarfile.TarFile, image: Image, written: set[str]) -> dict[str, Any]:
    """Add an image's blobs, and return what the index says about it."""
    for layer in image.layers:
        if layer.digest not in written:
            written.add(layer.digest)
            _add_file(tar, layer)
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{MEDIA}.manifest.v1+json",
        "config": _add_blob(tar, "config.v1+json", _config(image)),
        "layers": [
            {"mediaType": f"{MEDIA}.layer.v1.tar", "digest": f"sha256:{x.digest}", "size": x.size}
            for x in image.layers
        ],
    }
    tag = image.name.rpartition(":")[2]
    names = {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": tag}
    return _add_blob(tar, "manifest.v1+json", manifest) | {"annotations": names}


def _config(image: Image) -> dict[str, Any]:
    return {
        "architecture": ARCHITECTURES.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{x.digest}" for x in image.layers]},
        "config": {
            "Env": list(image.env),
            "Entrypoint": list(image.entrypoint),
            "Cmd": list(image.command),
            "User": image.user,
            "WorkingDir": image.folder,
        },
    }


def _add_blob(tar: tarfile.TarFile, media: str, value: Mapping[str, Any]) -> dict[str, Any]:
    content = _json(value)
    digest = hashlib.sha256(content).hexdigest()
    _add(tar, f"blobs/sha256/{digest}", content)
    return {"mediaType": f"{MEDIA}.{media}", "digest": f"sha256:{digest}", "size": len(content)}


def _add_file(tar: tarfile.TarFile, layer: Layer) -> None:
    entry = tarfile.TarInfo(f"blobs/sha256/{layer.digest}")
    entry.size = layer.size
    with layer.file.open("rb") as content:
        tar.addfile(entry, content)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode()
