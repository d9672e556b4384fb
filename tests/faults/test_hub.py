"""The imitation of the hub, as a plain HTTP client sees it."""

import httpx
import pytest

from behaviours import End
from hub import COMMIT, REPO, Hub, cut, edit, redirect, refuse, sha256, whole

PAYLOAD = b"GGUF" + bytes(range(256)) * 300
FILE = f"/{REPO}/resolve/{COMMIT}/a.gguf"


async def ask(hub: Hub, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=hub.url) as client:
        return await client.request(method, path, headers=headers)


async def test_a_file_has_size_sha256_and_commit_in_its_headers() -> None:
    async with Hub({"a.gguf": PAYLOAD}) as hub:
        answer = await ask(hub, FILE, "HEAD")

    assert answer.headers["content-length"] == str(len(PAYLOAD))
    assert answer.headers["etag"] == f'"{sha256(PAYLOAD)}"'
    assert answer.headers["x-repo-commit"] == COMMIT


async def test_a_range_is_answered_under_its_etag_and_as_a_whole_under_another() -> None:
    async with Hub({"a.gguf": PAYLOAD}) as hub:
        tag = f'"{sha256(PAYLOAD)}"'
        part = await ask(hub, FILE, Range="bytes=1000-", **{"If-Range": tag})
        all_of_it = await ask(hub, FILE, Range="bytes=1000-", **{"If-Range": '"old"'})
        beyond = await ask(hub, FILE, Range=f"bytes={len(PAYLOAD)}-")

    assert (part.status_code, part.content) == (206, PAYLOAD[1000:])
    assert part.headers["content-range"] == f"bytes 1000-{len(PAYLOAD) - 1}/{len(PAYLOAD)}"
    assert (all_of_it.status_code, all_of_it.content) == (200, PAYLOAD)
    assert beyond.status_code == 416


async def test_a_branch_has_a_commit_and_unknown_ones_have_not() -> None:
    async with Hub({}) as hub:
        known = await ask(hub, f"/api/models/{REPO}/revision/main")
        unknown = await ask(hub, f"/api/models/{REPO}/revision/none")

    assert known.json()["sha"] == COMMIT
    assert (unknown.status_code, unknown.headers["x-error-code"]) == (404, "RevisionNotFound")


async def test_a_download_is_redirected_to_the_content_server_and_told_about() -> None:
    async with (
        Hub({"a.gguf": PAYLOAD}) as content,
        Hub({"a.gguf": PAYLOAD}, content=content) as hub,
    ):
        answer = await ask(hub, FILE, "HEAD")

    assert answer.status_code == 302
    assert answer.headers["location"].startswith(f"{content.url}/files/a.gguf?")
    assert answer.headers["x-linked-size"] == str(len(PAYLOAD))


async def test_a_token_is_wanted_and_seen() -> None:
    async with Hub({"a.gguf": PAYLOAD}, token="t") as hub:  # noqa: S106 # not a secret
        without = await ask(hub, FILE)
        good = await ask(hub, FILE, Authorization="Bearer t")

    assert (without.status_code, good.status_code) == (401, 200)
    assert hub.secrets == {"Bearer t"}


async def test_faults_are_used_up_in_order() -> None:
    async with Hub({"a.gguf": PAYLOAD}) as hub:
        hub.gets = [
            refuse(503, "Retry-After: 7"),
            redirect("/elsewhere"),
            edit(rb"ETag: [^\r]*", b'ETag: "x"'),
            whole,
        ]
        answers = [await ask(hub, FILE, Range="bytes=10-") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [503, 302, 206, 200, 206]
    assert answers[0].headers["retry-after"] == "7"
    assert answers[2].headers["etag"] == '"x"'


@pytest.mark.parametrize("end", [End.FIN, End.RESET])
async def test_a_cut_answer_ends_in_an_error_at_the_client(end: End) -> None:
    async with Hub({"a.gguf": PAYLOAD}) as hub:
        hub.gets = [cut(20_000, end)]
        with pytest.raises(httpx.TransportError):
            await ask(hub, FILE)
