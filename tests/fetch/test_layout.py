"""Where the files of models lie, and when a model is whole."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetchables import NAME, hub_model, volume_model, web_model
from ggufs import gguf_file
from hub import sha256
from tiergarten_api.v1alpha1 import ModelSpec
from tiergarten_fetch import disk, layout, weights
from tiergarten_fetch.errors import FetchFailed, NotFound
from tiergarten_fetch.results import File, Result

SHORT = gguf_file(blocks=40)


def made(folder: Path) -> Result:
    path = folder / NAME
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(SHORT)
    header = weights.header_of(path, NAME)
    file = File(NAME, "Model", path, len(SHORT), sha256(SHORT), header)
    result = Result(folder, (file,), header, "c" * 40)
    layout.complete(result)
    return result


def test_a_key_is_eight_hexadecimal_digits_that_stay_the_same():
    assert layout.key(hub_model()) == layout.key(hub_model()) == "5c684f04"


def test_a_key_differs_by_repository_revision_url_file_and_sha256():
    models = [
        hub_model(),
        hub_model(revision="v2"),
        hub_model("other.gguf"),
        hub_model({"name": NAME, "sha256": "0" * 64}),
        web_model("https://x/a"),
        web_model("https://x/b"),
        volume_model(NAME),
    ]

    assert len({layout.key(model) for model in models}) == len(models)


def test_a_key_does_not_change_with_what_changes_no_byte():
    content = hub_model().model_dump(by_alias=True, exclude_none=True)
    content["source"]["huggingFace"]["tokenSecretRef"] = {"name": "secret", "key": "token"}
    content |= {"name": "other", "requireChecksum": False}

    assert layout.key(ModelSpec.model_validate(content)) == layout.key(hub_model())
    assert layout.key(hub_model("a.gguf", "b.gguf")) == layout.key(hub_model("b.gguf", "a.gguf"))


@given(st.text())
def test_no_name_leads_out_of_the_folder(name: str):
    folder = Path("/models/key")
    try:
        path = layout.path_of(folder, name)
    except FetchFailed:
        return
    assert path.is_relative_to(folder)
    assert ".." not in path.parts


@pytest.mark.parametrize("name", ["", ".", "/etc/passwd", "../x", "a/../../x", "nul\0"])
def test_a_name_that_would_lead_out_is_refused(name: str):
    with pytest.raises(FetchFailed, match=r"must be a relative path without '\.\.'"):
        layout.path_of(Path("/models/key"), name)


def test_what_was_completed_is_found_as_it_was(tmp_path: Path):
    result = made(tmp_path)

    assert layout.completed(tmp_path, hub_model()) == result
    assert [entry.name for entry in layout.check(tmp_path)] == [NAME]


def test_a_model_with_other_files_is_not_complete(tmp_path: Path):
    made(tmp_path)

    assert layout.completed(tmp_path, hub_model("other.gguf")) is None
    assert layout.completed(tmp_path, volume_model()) is None


def cut_short(folder: Path) -> None:
    (folder / NAME).write_bytes(SHORT[:-1])


def deleted(folder: Path) -> None:
    (folder / NAME).unlink()


@pytest.mark.parametrize("spoil", [cut_short, deleted])
def test_a_file_of_another_size_makes_a_model_incomplete(spoil, tmp_path: Path):
    made(tmp_path)
    spoil(tmp_path)

    assert layout.completed(tmp_path, hub_model()) is None
    with pytest.raises(NotFound, match=f"{len(SHORT)} were fetched; fetch again"):
        layout.check(tmp_path)


@pytest.mark.parametrize(
    "content",
    [{}, {"files": []}, {"files": {}}, {"files": [{}]}, {"files": [1]}, {"files": [{"name": "x"}]}],
    ids=json.dumps,
)
def test_a_broken_note_means_incomplete(content: dict[str, object], tmp_path: Path):
    made(tmp_path)
    disk.write_json(tmp_path / layout.COMPLETE, content)

    assert layout.completed(tmp_path, hub_model()) is None
    with pytest.raises(NotFound, match="its fetch has not ended"):
        layout.check(tmp_path)


def test_a_note_without_a_commit_is_that_of_another_source(tmp_path: Path):
    made(tmp_path)
    content = dict(disk.read_json(tmp_path / layout.COMPLETE)) | {"revision": None}
    disk.write_json(tmp_path / layout.COMPLETE, content)

    found = layout.completed(tmp_path, hub_model())

    assert found is not None
    assert found.resolved_revision is None
