"""Folders become layers and images, the same ones for the same content."""

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from kit import oci


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "tool").write_text("#!/bin/sh\n")
    (root / "bin" / "tool").chmod(0o755)
    (root / "bin" / "alias").symlink_to("tool")
    return root


@pytest.fixture
def image(folder: Path, tmp_path: Path) -> oci.Image:
    layer = oci.pack(folder, tmp_path / "layer.tar")
    return oci.Image("docker.io/local/tool:1", (layer,), ("tool",))


def archive(image: oci.Image, *without: str) -> tarfile.TarFile:
    out = io.BytesIO()
    oci.write(out, [image], without)
    out.seek(0)
    return tarfile.open(fileobj=out)


def blob(tar: tarfile.TarFile, digest: str) -> dict[str, Any]:
    found = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
    assert found
    return dict(json.load(found))


def test_equal_folders_give_equal_digests(folder: Path, tmp_path: Path) -> None:
    first = oci.pack(folder, tmp_path / "first.tar")
    os.utime(folder / "bin" / "tool", (1, 1))

    second = oci.pack(folder, tmp_path / "second.tar")

    assert first.digest == second.digest


def test_keeps_times_when_asked(folder: Path, tmp_path: Path) -> None:
    os.utime(folder / "bin" / "tool", (1000, 1000))

    layer = oci.pack(folder, tmp_path / "layer.tar", keep_times=True)

    with tarfile.open(layer.file) as tar:
        assert tar.getmember("bin/tool").mtime == 1000


def test_files_belong_to_root_and_keep_their_modes(folder: Path, tmp_path: Path) -> None:
    layer = oci.pack(folder, tmp_path / "layer.tar")

    with tarfile.open(layer.file) as tar:
        tool, alias = tar.getmember("bin/tool"), tar.getmember("bin/alias")
    assert (tool.uid, tool.gid, tool.mode) == (0, 0, 0o755)
    assert alias.linkname == "tool"


def test_remembers_what_was_packed(folder: Path, tmp_path: Path) -> None:
    assert oci.packed(tmp_path / "layer.tar") is None

    layer = oci.pack(folder, tmp_path / "layer.tar")

    assert oci.packed(tmp_path / "layer.tar") == layer


def test_an_archive_leads_from_the_index_to_the_layers(image: oci.Image) -> None:
    with archive(image) as tar:
        index = tar.extractfile("index.json")
        assert index
        entry = json.load(index)["manifests"][0]
        manifest = blob(tar, entry["digest"])
        config = blob(tar, manifest["config"]["digest"])
        names = tar.getnames()

    digest = f"sha256:{image.layers[0].digest}"
    assert entry["annotations"]["io.containerd.image.name"] == image.name
    assert [layer["digest"] for layer in manifest["layers"]] == [digest]
    assert config["rootfs"]["diff_ids"] == [digest]
    assert config["config"]["Entrypoint"] == ["tool"]
    assert f"blobs/sha256/{image.layers[0].digest}" in names


def test_leaves_out_the_layers_that_the_reader_has(image: oci.Image) -> None:
    with archive(image, image.layers[0].digest) as tar:
        assert f"blobs/sha256/{image.layers[0].digest}" not in tar.getnames()
