"""The whole way of a model, from an imitation of the hub onto the disk."""

import asyncio
import json
from pathlib import Path

import pytest

from fetchables import NAME, hub_model, options, volume_model, web_model
from ggufs import gguf_file
from hub import COMMIT, Hub, cut, hold, refuse, sha256
from tiergarten_fetch.errors import (
    Busy,
    ChecksumMismatch,
    FetchFailed,
    NoSpace,
    NotFound,
    NotGGUF,
)
from tiergarten_fetch.fetching import fetch
from tiergarten_fetch.locks import Pace
from tiergarten_fetch.results import Doing, Progress

PAYLOAD = gguf_file(blocks=4000)  # some 136 KB: many pieces
SHORT = gguf_file(blocks=40)
TOKEN = "hf_canary"  # noqa: S105 # a canary, not a secret


def left(root: Path) -> set[str]:
    """Return the names in the folder of blobs, with `SHA` for the payload's."""
    return {
        path.name.replace(sha256(PAYLOAD), "SHA").replace(sha256(SHORT), "SHORT")
        for path in (root / "blobs").iterdir()
    }


async def test_a_model_of_the_hub_comes_whole_with_its_commit_and_header(tmp_path: Path):
    seen: list[Progress] = []

    async with Hub({NAME: PAYLOAD}) as hub:
        done = await fetch(hub_model(), tmp_path, options=options(hub), progress=seen.append)

    assert done.model.path.read_bytes() == PAYLOAD
    assert done.resolved_revision == COMMIT
    assert done.digest == done.model.sha256 == sha256(PAYLOAD)
    assert (done.header.architecture, done.header.layers) == ("llama", 2)
    assert left(tmp_path) == {"SHA"}
    complete = json.loads((done.folder / ".complete").read_text())
    assert complete["revision"] == COMMIT
    assert complete["files"] == [{"name": NAME, "size": len(PAYLOAD), "sha256": sha256(PAYLOAD)}]
    assert seen[-1] == Progress(NAME, len(PAYLOAD), len(PAYLOAD), Doing.DONE)


async def test_a_complete_model_is_returned_without_a_network(tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        first = await fetch(hub_model(), tmp_path, options=options(hub))
        asked = len(hub.requests)
        seen: list[Progress] = []
        again = await fetch(hub_model(), tmp_path, options=options(hub), progress=seen.append)

    assert again == first
    assert len(hub.requests) == asked
    assert [one.doing for one in seen] == [Doing.DONE]


async def test_a_refetch_asks_the_source_and_replaces_a_blob_that_rotted(tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        done = await fetch(hub_model(), tmp_path, options=options(hub))
        rotten = bytearray(PAYLOAD)
        rotten[-1] ^= 1
        done.model.path.write_bytes(rotten)
        again = await fetch(hub_model(), tmp_path, options=options(hub, refetch=True))
        await fetch(hub_model(), tmp_path, options=options(hub, refetch=True))

    assert again.model.path.read_bytes() == PAYLOAD
    assert len(hub.downloads) == 2


async def test_a_complete_model_whose_header_rotted_is_fetched_anew(tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        done = await fetch(hub_model(), tmp_path, options=options(hub))
        done.model.path.write_bytes(bytes(len(SHORT)))
        again = await fetch(hub_model(), tmp_path, options=options(hub))

    assert again.model.path.read_bytes() == SHORT


async def test_shards_in_a_folder_are_linked_and_share_their_blobs_with_other_models(
    tmp_path: Path,
):
    names = [f"Q8 0/tiny-0000{number}-of-00002.gguf" for number in (1, 2)]
    shards = {name: gguf_file(seed=i, split=(i, 2)) for i, name in enumerate(names)}

    async with Hub(shards) as hub:
        first = await fetch(hub_model(*names), tmp_path, options=options(hub))
        url = f"{hub.url}/files"
        second = await fetch(web_model(url, *names), tmp_path, options=options(hub))

    assert first.header.split_count == 2
    assert first.size == sum(map(len, shards.values()))
    assert first.folder != second.folder
    assert all(a.path.samefile(b.path) for a, b in zip(first.files, second.files, strict=True))
    assert len(hub.downloads) == 2


@pytest.mark.parametrize("kind", ["apis", "heads", "gets"])
async def test_errors_that_pass_are_waited_for_at_each_step(kind: str, tmp_path: Path):
    seen: list[Progress] = []
    async with Hub({NAME: SHORT}) as hub:
        setattr(hub, kind, [refuse(500), refuse(502), refuse(503)])
        done = await fetch(hub_model(), tmp_path, options=options(hub), progress=seen.append)

    assert done.model.path.read_bytes() == SHORT
    notes = [one.note for one in seen if one.doing is Doing.RETRYING]
    assert len(notes) == 3


async def test_a_wrong_sha256_is_refused_and_its_bytes_are_dropped(tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        model = hub_model({"name": NAME, "sha256": "0" * 64})
        with pytest.raises(ChecksumMismatch, match=sha256(SHORT)):
            await fetch(model, tmp_path, options=options(hub))

    assert left(tmp_path) == set()


async def test_a_wrong_file_is_downloaded_once_more_only_if_it_was_continued(tmp_path: Path):
    model = hub_model({"name": NAME, "sha256": "0" * 64})
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.gets = [cut(100_000), refuse(418)]
        with pytest.raises(FetchFailed, match="418"):
            await fetch(model, tmp_path, options=options(hub))
        with pytest.raises(ChecksumMismatch):
            await fetch(model, tmp_path, options=options(hub))

    assert hub.ranges == [None, "bytes=100000-", "bytes=100000-", None]


@pytest.mark.parametrize(
    "payload",
    [SHORT[:-1], SHORT[:60], b"GGUF", b"", gguf_file(version=1), gguf_file(version=99)],
    ids=["cut weights", "cut header", "magic alone", "empty", "old version", "new version"],
)
async def test_what_is_no_whole_gguf_file_is_refused_and_dropped(payload: bytes, tmp_path: Path):
    async with Hub({NAME: payload}) as hub:
        with pytest.raises(NotGGUF):
            await fetch(hub_model(), tmp_path, options=options(hub))

    assert left(tmp_path) == set()


async def test_shards_that_the_headers_deny_make_no_complete_model(tmp_path: Path):
    async with Hub({NAME: gguf_file(split=(0, 2))}) as hub:
        with pytest.raises(NotFound, match="1 of 2"):
            await fetch(hub_model(), tmp_path, options=options(hub))

    assert not (tmp_path / "models").exists()


async def test_a_missing_shard_is_told_before_anything_is_fetched(tmp_path: Path):
    async with Hub({}) as hub:
        model = hub_model("tiny-00001-of-00002.gguf")
        with pytest.raises(NotFound, match=r"missing: tiny-00002-of-00002\.gguf"):
            await fetch(model, tmp_path, options=options(hub))

    assert not hub.requests


async def test_a_full_disk_is_told_before_the_first_byte_with_what_is_missing(tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        chosen = options(hub, free=lambda _: len(PAYLOAD) - 7)
        with pytest.raises(NoSpace, match=r"raise cache\.size by 7 bytes"):
            await fetch(hub_model(), tmp_path, options=chosen)

    assert not hub.downloads


async def test_only_the_bytes_that_are_still_to_come_need_space(tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.gets = [cut(100_000), refuse(418)]
        with pytest.raises(FetchFailed):
            await fetch(hub_model(), tmp_path, options=options(hub))
        chosen = options(hub, free=lambda _: len(PAYLOAD) - 100_000)
        await fetch(hub_model(), tmp_path, options=chosen)
        none_needed = options(hub, free=lambda _: 0, refetch=True)
        await fetch(hub_model(), tmp_path, options=none_needed)

    assert hub.ranges == [None, "bytes=100000-", "bytes=100000-"]


async def test_two_fetches_of_one_folder_download_once_and_the_second_says_that_it_waits(
    tmp_path: Path,
):
    seen: list[Progress] = []
    go_on = asyncio.Event()

    def show(progress: Progress) -> None:
        seen.append(progress)
        if progress.doing is Doing.WAITING:
            go_on.set()

    async with Hub({NAME: PAYLOAD}) as hub:
        hub.gets = [hold(1000, go_on)]
        first = asyncio.create_task(fetch(hub_model(), tmp_path, options=options(hub)))
        await hub.until(lambda: bool(hub.downloads))
        second = await fetch(hub_model(), tmp_path, options=options(hub), progress=show)

        assert await first == second
        assert len(hub.downloads) == 1
        assert Doing.WAITING in {one.doing for one in seen}


async def test_a_fetch_that_waits_too_long_for_another_says_whose_file_it_is(tmp_path: Path):
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.gets = [hold(1000, asyncio.Event())]
        first = asyncio.create_task(fetch(hub_model(), tmp_path, options=options(hub)))
        await hub.until(lambda: bool(hub.downloads))
        impatient = options(hub, pace=Pace(0.05, 30.0, 0.01, wait_seconds=0.1))
        with pytest.raises(Busy, match=r"\.lock: held by another fetch for 0\.1 s"):
            await fetch(hub_model(), tmp_path, options=impatient)
        first.cancel()


async def test_a_fetch_whose_lock_was_taken_over_makes_nothing_final(tmp_path: Path):
    go_on = asyncio.Event()
    async with Hub({NAME: PAYLOAD}) as hub:
        hub.gets = [hold(1000, go_on)]
        first = asyncio.create_task(fetch(hub_model(), tmp_path, options=options(hub)))
        await hub.until(lambda: bool(hub.downloads))
        (tmp_path / "blobs" / f"{sha256(PAYLOAD)}.lock").write_text("another")
        go_on.set()
        with pytest.raises(FetchFailed, match="another fetch took over"):
            await first

    assert left(tmp_path) == {"SHA.partial", "SHA.partial.json", "SHA.lock"}


async def test_a_lock_of_a_dead_process_is_taken_over(tmp_path: Path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / f"{sha256(SHORT)}.lock").write_text("dead")

    async with Hub({NAME: SHORT}) as hub:
        done = await fetch(hub_model(), tmp_path, options=options(hub))

    assert done.model.path.read_bytes() == SHORT
    assert left(tmp_path) == {"SHORT"}


async def test_a_model_in_a_volume_is_verified_where_it_is(tmp_path: Path):
    (tmp_path / NAME).write_bytes(SHORT)

    async with Hub({}) as hub:
        done = await fetch(volume_model(), tmp_path, options=options(hub))

    assert done.model.path == tmp_path / NAME
    assert not (tmp_path / "blobs").exists()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()
    async with Hub({NAME: SHORT}) as hub:
        with pytest.raises(FetchFailed, match="ENOTDIR"):
            await fetch(hub_model(), tmp_path / "file" / "models", options=options(hub))
