"""Models that somebody else put there."""

from pathlib import Path

import pytest

from fetchables import NAME, volume_model
from ggufs import gguf_file
from hub import sha256
from tiergarten_fetch.errors import ChecksumMismatch, NotFound, NotGGUF
from tiergarten_fetch.results import Progress
from tiergarten_fetch.volumes import locate

SHORT = gguf_file(blocks=40)


async def test_a_named_file_is_found_and_its_sha256_is_only_checked_if_given(tmp_path: Path):
    (tmp_path / "deep").mkdir()
    name = f"deep/{NAME}"
    (tmp_path / name).write_bytes(SHORT)
    seen: list[Progress] = []

    plain = await locate(volume_model(name), tmp_path, progress=seen.append)
    checked = await locate(volume_model({"name": name, "sha256": sha256(SHORT)}), tmp_path)

    assert plain.model.path == tmp_path / name
    assert (plain.digest, checked.digest) == (None, sha256(SHORT))
    assert [one.file for one in seen] == [name]
    with pytest.raises(ChecksumMismatch, match=sha256(SHORT)):
        await locate(volume_model({"name": name, "sha256": "0" * 64}), tmp_path)


async def test_roles_and_order_are_those_of_the_spec(tmp_path: Path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(SHORT)
    model = volume_model({"name": "b.gguf", "role": "Projector"}, "a.gguf")

    found = await locate(model, tmp_path)

    assert [(file.name, file.role) for file in found.files] == [
        ("b.gguf", "Projector"),
        ("a.gguf", "Model"),
    ]
    assert found.model.name == "a.gguf"


async def test_a_folder_with_one_model_needs_no_names(tmp_path: Path):
    (tmp_path / "README.md").touch()
    for number in (2, 1):
        name = f"tiny-0000{number}-of-00002.gguf"
        (tmp_path / name).write_bytes(gguf_file(split=(number - 1, 2)))

    found = await locate(volume_model(), tmp_path)

    assert [file.name[:10] for file in found.files] == ["tiny-00001", "tiny-00002"]
    assert found.header.split_count == 2


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], r"holds 0 models \(no \.gguf file\)"),
        (["a.gguf", "b.gguf"], r"holds 2 models \(a\.gguf, b\.gguf\)"),
        ([f"{n}.gguf" for n in range(7)], r"holds 7 models .*4\.gguf, …"),
        (["x-00001-of-00002.gguf", "x-00001-of-00003.gguf"], "holds 2 models"),
        (["x-00002-of-00002.gguf"], "missing: x-00001-of-00002"),
    ],
)
async def test_a_folder_without_one_whole_model_is_not_found(names, words, tmp_path: Path):
    for name in names:
        (tmp_path / name).write_bytes(SHORT)

    with pytest.raises(NotFound, match=words):
        await locate(volume_model(), tmp_path)


async def test_a_file_or_folder_that_is_not_there_is_not_found(tmp_path: Path):
    with pytest.raises(NotFound, match="check claimName, subPath"):
        await locate(volume_model(NAME), tmp_path)
    with pytest.raises(NotFound, match="No such file"):
        await locate(volume_model(), tmp_path / "none")


async def test_a_file_that_is_no_model_is_told(tmp_path: Path):
    (tmp_path / NAME).write_text("<html>")

    with pytest.raises(NotGGUF):
        await locate(volume_model(), tmp_path)
