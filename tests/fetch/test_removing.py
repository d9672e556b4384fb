"""A model leaves a folder that others use, and takes along what is its alone."""

from pathlib import Path

import pytest

from fetchables import options, web_model
from ggufs import gguf_file
from hub import Hub, sha256
from tiergarten_fetch import fetching, layout, removing
from tiergarten_fetch.errors import FetchFailed

OWN, COMMON = gguf_file(blocks=40), gguf_file(blocks=50)


def named(name: str, payload: bytes) -> dict[str, str]:
    return {"name": name, "sha256": sha256(payload)}


async def test_files_that_another_model_has_stay(tmp_path: Path) -> None:
    files = {"own.gguf": OWN, "common.gguf": COMMON}
    async with Hub(files) as hub:
        url = f"{hub.url}/files/"
        common = named("common.gguf", COMMON)
        goes = web_model(url, named("own.gguf", OWN), common | {"role": "Draft"})
        stays = web_model(url, common, require_checksum=False)
        for model in (goes, stays):
            await fetching.fetch(model, tmp_path, options=options(hub))

    freed = removing.remove(goes, tmp_path)

    assert freed == len(OWN)
    assert not layout.folder(tmp_path, goes).exists()
    assert layout.check(layout.folder(tmp_path, stays))
    assert not (layout.blobs(tmp_path) / sha256(OWN)).exists()
    assert removing.remove(goes, tmp_path) == 0
    assert removing.remove(stays, tmp_path) == len(COMMON)


def test_a_model_that_never_came_is_no_error(tmp_path: Path) -> None:
    assert removing.remove(web_model("http://models.example/a.gguf"), tmp_path) == 0


def test_a_folder_that_may_not_be_written_to_is_named(tmp_path: Path) -> None:
    model = web_model("http://models.example/a.gguf")
    layout.folder(tmp_path, model).mkdir(parents=True)
    (layout.folder(tmp_path, model) / layout.COMPLETE).mkdir()  # nothing that unlink takes away

    with pytest.raises(FetchFailed, match="models/"):
        removing.remove(model, tmp_path)
