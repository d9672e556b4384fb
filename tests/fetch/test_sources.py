"""What the sources are asked for, and what of their answers is believed."""

from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from behaviours import head, page
from fetchables import NAME, hub_model, options, volume_model, web_model
from ggufs import gguf_file
from hub import COMMIT, REPO, Fault, Hub, edit, redirect, refuse, sha256
from tiergarten_fetch import sources
from tiergarten_fetch.errors import ChecksumMismatch, FetchFailed, NoSpace, NotFound
from tiergarten_fetch.fetching import fetch
from tiergarten_fetch.options import Options

SHORT = gguf_file(blocks=40)
names = st.text(min_size=1, max_size=40).map(lambda text: f"{text}.gguf")
clean = names.filter(lambda name: not name.startswith("/") and ".." not in name)


@given(clean)
def test_any_file_name_becomes_one_path_below_the_commit(name: str):
    (file,) = sources.wanted(hub_model(name), COMMIT, Options())

    raw = file.url.raw_path.decode()
    assert raw.startswith(f"/{REPO}/resolve/{COMMIT}/")
    assert "?" not in raw
    assert "#" not in raw
    assert unquote(raw) == f"/{REPO}/resolve/{COMMIT}/{name}"


@pytest.mark.parametrize(
    ("url", "files", "urls"),
    [
        ("https://x/m.gguf", ["a.gguf"], ["https://x/m.gguf"]),
        ("https://x/m.gguf?sig=1", ["a.gguf"], ["https://x/m.gguf?sig=1"]),
        ("https://x/dir/", ["a.gguf"], ["https://x/dir/a.gguf"]),
        ("https://x/dir", ["a.gguf", "s/b c.gguf"], ["https://x/dir/a.gguf", "https://x/dir/s/b%20c.gguf"]),
        ("https://x/dir/?sig=1", ["a.gguf"], ["https://x/dir/a.gguf?sig=1"]),
        ("https://x", ["a.gguf", "b.gguf"], ["https://x/a.gguf", "https://x/b.gguf"]),
    ],
)  # fmt: skip
def test_a_web_url_is_a_folder_for_several_files_or_with_a_slash(url, files, urls):
    found = sources.wanted(web_model(url, *files), None, Options())

    assert [str(file.url) for file in found] == urls


def test_each_kind_of_source_gets_its_own_secret():
    chosen = Options(token=SecretStr("hub"), header=SecretStr("X-Key: web"))

    hub, web = (sources.secret_of(model, chosen) for model in (hub_model(), web_model("http://x")))

    assert hub is not None
    assert web is not None
    assert (hub.name, hub.value.get_secret_value()) == ("Authorization", "Bearer hub")
    assert (web.name, web.value.get_secret_value()) == ("X-Key", "web")
    assert sources.secret_of(web_model("http://x"), Options(token=SecretStr("hub"))) is None
    assert sources.secret_of(hub_model(), Options(header=SecretStr("web"))) is None


def test_a_volume_has_nothing_to_fetch():
    with pytest.raises(FetchFailed, match=r"^model\.source: has nothing to fetch"):
        sources.wanted(volume_model(NAME), None, Options())


@pytest.mark.parametrize("body", ["[]", "{}", '{"sha": "main"}', '{"sha": null}', "no json"])
async def test_a_hub_that_tells_no_commit_is_not_believed(body: str, tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        hub.apis = [lambda _: page(body)]
        with pytest.raises(FetchFailed, match="commit"):
            await fetch(hub_model(), tmp_path, options=options(hub))


async def test_an_etag_that_is_a_sha256_counts_as_published_weak_or_bare(tmp_path: Path):
    for number, etag in enumerate([f'W/"{sha256(SHORT)}"', sha256(SHORT), f'"{sha256(SHORT)}"']):
        async with Hub({NAME: SHORT}) as hub:
            hub.etags[NAME] = etag
            done = await fetch(hub_model(), tmp_path / str(number), options=options(hub))

        assert done.digest == sha256(SHORT)


async def test_the_linked_etag_counts_more_than_the_servers_own(tmp_path: Path):
    linked = b'ETag: "%s"\r\nX-Linked-Etag: "%s"\r\n' % (b"0" * 64, sha256(SHORT).encode())
    async with Hub({NAME: SHORT}) as hub:
        hub.heads = [edit(rb"ETag: [^\r]*\r\n", linked)]
        done = await fetch(hub_model(), tmp_path, options=options(hub))

    assert done.digest == sha256(SHORT)


async def test_another_hosts_64_digits_are_not_the_sources_sha256(tmp_path: Path):
    async with Hub({NAME: SHORT}) as other, Hub({NAME: SHORT}) as hub:
        hub.heads = [redirect(f"{other.url}/files/{NAME}")]
        with pytest.raises(ChecksumMismatch, match="neither given nor published"):
            await fetch(hub_model(), tmp_path, options=options(hub))


@pytest.mark.parametrize("status", [400, 403, 405, 501])
async def test_a_server_without_head_is_asked_for_the_first_byte(status: int, tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        hub.heads = [refuse(status)]
        model = web_model(f"{hub.url}/files/{NAME}")
        done = await fetch(model, tmp_path, options=options(hub))

    assert done.digest == sha256(SHORT)
    assert hub.ranges == ["bytes=0-0", None]


def first_byte(content_range: str) -> Fault:
    tag = f'ETag: "{sha256(SHORT)}"'
    start = head(206, "text/plain", "Content-Length: 1", content_range, tag)
    return lambda _: lambda _: (start, b"G")


@pytest.mark.parametrize(
    ("content_range", "size"),
    [
        (f"Content-Range: bytes 0-0/{len(SHORT)}", len(SHORT)),
        ("Content-Range: bytes 0-0/*", None),
        ("X-Other: 1", None),
    ],
)
async def test_the_first_bytes_range_tells_the_size(content_range, size, tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        hub.heads = [refuse(405)]
        hub.gets = [first_byte(content_range)]
        model = web_model(f"{hub.url}/files/{NAME}")
        fetching = fetch(model, tmp_path, options=options(hub, free=lambda _: len(SHORT) - 1))
        if size is None:
            assert (await fetching).digest == sha256(SHORT)
        else:
            with pytest.raises(NoSpace, match="by 1 bytes"):
                await fetching


async def test_a_revision_that_was_pinned_is_fetched_in_place_of_the_branch(tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        done = await fetch(hub_model(), tmp_path, options=options(hub, revision=COMMIT))

    assert done.resolved_revision == COMMIT
    assert not any("/api/" in one.path for one in hub.requests)


async def test_a_branch_with_a_slash_in_its_name_is_resolved(tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        done = await fetch(hub_model(revision="refs/pr/1"), tmp_path, options=options(hub))

    assert done.resolved_revision == COMMIT
    assert hub.requests[0].path.endswith("/revision/refs%2Fpr%2F1")


async def test_a_single_file_of_a_web_server_has_its_own_url(tmp_path: Path):
    async with Hub({"other name.gguf": SHORT}) as hub:
        model = web_model(f"{hub.url}/files/other%20name.gguf?key=1")
        done = await fetch(model, tmp_path, options=options(hub))

    assert done.model.path.name == NAME
    assert done.resolved_revision is None
    assert hub.downloads[0].path == "/files/other%20name.gguf?key=1"


async def test_a_file_that_the_repository_does_not_have_is_not_found(tmp_path: Path):
    async with Hub({}) as hub:
        with pytest.raises(NotFound, match=r"answers 404 \(EntryNotFound\)"):
            await fetch(hub_model(), tmp_path, options=options(hub))


async def test_a_sha256_that_nobody_tells_is_refused_unless_the_spec_allows_it(tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        hub.etags[NAME] = '"some-tag"'
        with pytest.raises(ChecksumMismatch, match="neither given nor published"):
            await fetch(hub_model(), tmp_path, options=options(hub))
        model = hub_model(require_checksum=False)
        done = await fetch(model, tmp_path, options=options(hub))

    assert done.model.sha256 == sha256(SHORT)
    assert [path.name for path in (tmp_path / "blobs").iterdir()] == [sha256(SHORT)]


async def test_a_mirror_that_answers_from_another_commit_is_out_of_step(tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        hub.heads = [edit(rb"(X-Repo-Commit: )\w+", rb"\1" + b"f" * 40)] * 9
        with pytest.raises(FetchFailed, match="comes from another commit"):
            await fetch(hub_model(), tmp_path, options=options(hub))
