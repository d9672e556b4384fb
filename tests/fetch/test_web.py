"""Redirects, secrets, addresses and errors of HTTP, seen at real servers."""

import os
import shutil
import ssl
import subprocess
import time
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from pydantic import SecretStr

from behaviours import End, head
from fetchables import NAME, hub_model, options, web_model
from ggufs import gguf_file
from hub import Hub, redirect, refuse
from tiergarten_fetch.addresses import Reach
from tiergarten_fetch.errors import FetchError, FetchFailed, NotFound, Unauthorized
from tiergarten_fetch.fetching import fetch
from tiergarten_fetch.retries import Backoff
from tiergarten_fetch.web import BODY_LIMIT, Web

PAYLOAD = gguf_file(blocks=4000)
SHORT = gguf_file(blocks=40)
TOKEN = "hf_canary"  # noqa: S105 # a canary, not a secret


def missing(part: str) -> NoReturn:
    """Skip on a laptop; fail where CI=true promises that every part is there."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{part} is not here")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a self-signed certificate for the name localhost, with its key in the same file."""
    if (openssl := shutil.which("openssl")) is None:
        missing("openssl")
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    make = "req -x509 -nodes -newkey rsa:2048 -days 2 -subj /CN=localhost"
    name = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    command = [openssl, *make.split(), *name, *files]
    subprocess.run(command, check=True, capture_output=True)  # all of it is ours
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


async def test_a_gated_repository_needs_its_token_which_no_other_host_sees(tmp_path: Path):
    async with (
        Hub({NAME: PAYLOAD}, host="localhost") as content,
        Hub({NAME: PAYLOAD}, token=TOKEN, content=content) as hub,
    ):
        with pytest.raises(Unauthorized, match=r"answers 401 \(GatedRepo\); set a secret"):
            await fetch(hub_model(), tmp_path, options=options(hub))
        token = SecretStr(f"{TOKEN}\n")
        done = await fetch(hub_model(), tmp_path, options=options(hub, token=token))

    assert done.model.path.read_bytes() == PAYLOAD
    assert hub.secrets == {f"Bearer {TOKEN}"}
    assert [one.method for one in content.requests] == ["GET"]  # the hub told size and sha256
    assert content.secrets == set()


async def test_a_header_for_a_web_server_goes_to_no_other_host_or_port(tmp_path: Path):
    async with Hub({NAME: SHORT}) as other, Hub({NAME: SHORT}) as hub:
        hub.heads = hub.gets = [redirect(f"{other.url}/files/{NAME}")] * 2
        header = SecretStr("X-Api-Key: canary")
        model = web_model(f"{hub.url}/files/{NAME}", require_checksum=False)
        await fetch(model, tmp_path, options=options(hub, header=header))

    assert hub.secrets == {"canary"}
    assert other.secrets == set()
    assert other.requests


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, Unauthorized),
        (403, Unauthorized),
        (404, NotFound),
        (410, NotFound),
        (418, FetchFailed),
    ],
)
async def test_an_answer_that_stays_wrong_is_not_asked_for_again(status, error, tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        hub.apis = [refuse(status)] * 2
        with pytest.raises(error, match=f"answers {status}"):
            await fetch(hub_model(), tmp_path, options=options(hub))

    assert len(hub.requests) == 1


async def test_errors_that_do_not_pass_end_the_fetch_with_the_last_of_them(tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        hub.gets = [refuse(500)] * 9
        with pytest.raises(FetchFailed, match=r"answers 500 \(tried 4 times\)"):
            await fetch(hub_model(), tmp_path, options=options(hub))

    assert len(hub.gets) == 5


async def test_a_token_is_in_no_message(tmp_path: Path):
    async with Hub({NAME: SHORT}, token="another") as hub:  # noqa: S106 # not a secret
        with pytest.raises(Unauthorized, match="check that the secret is valid") as caught:
            await fetch(hub_model(), tmp_path, options=options(hub, token=SecretStr(TOKEN)))

    assert TOKEN not in repr(caught.value)
    assert TOKEN not in repr(options(hub, token=SecretStr(TOKEN)))


async def test_redirects_on_the_same_server_keep_the_token(tmp_path: Path):
    async with Hub({NAME: SHORT}, token=TOKEN) as hub:
        to = redirect(f"/files/{NAME}", status=307)
        hub.heads, hub.gets = [to], [to]
        done = await fetch(hub_model(), tmp_path, options=options(hub, token=SecretStr(TOKEN)))

    assert done.model.path.read_bytes() == SHORT


@pytest.mark.parametrize("kind", ["apis", "heads", "gets"])
async def test_a_loop_of_redirects_ends_after_five(kind: str, tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        setattr(hub, kind, [redirect("?again")] * 20)
        if kind == "apis":
            hub.apis = [redirect("/api/again")] * 20
        with pytest.raises(FetchFailed, match="redirects more than 5 times"):
            await fetch(hub_model(), tmp_path, options=options(hub))

        assert len(getattr(hub, kind)) == 20 - 6


@pytest.mark.parametrize("location", ["", "ftp://127.0.0.1/x", "http://169.254.169.254/x"])
async def test_a_redirect_out_of_the_web_or_to_metadata_is_not_followed(
    location: str, tmp_path: Path
):
    async with Hub({NAME: SHORT}) as hub:
        hub.gets = [redirect(location)] * 2
        with pytest.raises(FetchFailed):
            await fetch(hub_model(), tmp_path, options=options(hub))

    assert len(hub.gets) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
async def test_a_source_on_this_machine_is_not_connected_to_unless_that_is_allowed(
    host: str, tmp_path: Path
):
    async with Hub({NAME: SHORT}) as canary:
        model = web_model(f"http://{host}:{canary.port}/files/{NAME}")
        with pytest.raises(FetchFailed, match="loopback address"):
            await fetch(model, tmp_path, options=options(canary, loopback=False))

    assert not canary.requests


async def test_the_administrators_hub_may_be_on_this_machine(tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        done = await fetch(hub_model(), tmp_path, options=options(hub, loopback=False))

    assert done.model.path.read_bytes() == SHORT


async def test_a_host_that_does_not_listen_is_tried_again_and_then_named(tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        port = hub.port
    model = web_model(f"http://127.0.0.1:{port}/files/{NAME}")

    with pytest.raises(FetchFailed, match=rf"{port}/files/.*attempts failed.*tried 4 times"):
        await fetch(model, tmp_path, options=options(hub))


async def test_retry_after_is_kept(tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        hub.gets = [refuse(429, "Retry-After: 1")]
        begun = time.monotonic()
        await fetch(hub_model(), tmp_path, options=options(hub))

    assert time.monotonic() - begun >= 1


async def test_retry_after_is_bounded(tmp_path: Path):
    backoff = Backoff(4, 0.001, 0.001, longest_asked_seconds=0.01)
    async with Hub({NAME: SHORT}) as hub:
        hub.gets = [refuse(503, "Retry-After: 86400")]
        done = await fetch(hub_model(), tmp_path, options=options(hub, backoff=backoff))

    assert done.model.path.read_bytes() == SHORT


async def test_an_error_code_of_the_hub_is_shown_only_if_it_is_a_word(tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        hub.apis = [refuse(404, "X-Error-Code: <script>")]
        with pytest.raises(NotFound, match="answers 404;"):
            await fetch(hub_model(), tmp_path, options=options(hub))


async def test_an_answer_that_never_ends_is_cut_off():
    endless = head(200, "application/json", "Connection: close"), b"x" * (BODY_LIMIT + 1)
    async with Hub({}) as hub, _web() as web:
        hub.apis = [lambda _: lambda _: endless]
        with pytest.raises(FetchFailed, match="answers with more than"):
            await web.body(httpx.URL(f"{hub.url}/api/models"), None)


async def test_what_is_not_http_is_an_interruption(tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        hub.gets = [lambda _: lambda _: (b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",)]
        done = await fetch(hub_model(), tmp_path, options=options(hub))

    assert done.model.path.read_bytes() == SHORT


async def test_a_proxy_of_the_environment_is_used_and_resolves_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with Hub({NAME: SHORT}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "skipped.invalid")
        model = web_model(f"http://models.invalid/files/{NAME}")
        chosen = options(proxy, loopback=False)
        done = await fetch(model, tmp_path, options=chosen)
        for host, word in (("169.254.169.254", "forbidden"), ("skipped.invalid", "resolved")):
            model = web_model(f"http://{host}/files/{NAME}")
            with pytest.raises(FetchFailed, match=word):
                await fetch(model, tmp_path, options=chosen)

    assert done.model.path.read_bytes() == SHORT
    assert {one.headers["host"] for one in proxy.requests} == {"models.invalid"}


async def test_a_server_must_prove_its_name_although_its_address_is_connected_to(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
    async with Hub({NAME: SHORT}, host="localhost", tls=tls) as hub:
        done = await fetch(hub_model(), tmp_path, options=options(hub))
        hub.host = "127.0.0.1"  # the certificate is for the name only
        with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await fetch(hub_model(), tmp_path / "other", options=options(hub))
        hub.host = "localhost"
        hub.gets = [redirect(f"http://localhost:{hub.port}/files/{NAME}")]
        with pytest.raises(FetchFailed, match="leads to http; only https may follow"):
            await fetch(hub_model(), tmp_path / "third", options=options(hub))

    assert done.model.path.read_bytes() == SHORT


async def test_cookies_are_not_kept(tmp_path: Path):
    async with Hub({NAME: SHORT}) as hub:
        hub.heads = [redirect(f"/files/{NAME}", "Set-Cookie: session=1")]
        await fetch(hub_model(), tmp_path, options=options(hub))

    assert hub.secrets == set()


async def test_a_body_that_stalls_ends_with_the_stall_time():
    begun = head(200, "text/plain", "Content-Length: 9")
    async with Hub({}) as hub, _web(stall_seconds=0.2) as web:
        hub.apis = [lambda _: lambda _: (begun, End.HANG)]
        with pytest.raises(FetchError, match="ReadTimeout"):
            await web.body(httpx.URL(f"{hub.url}/api/models"), None)


def _web(stall_seconds: float = 5.0) -> Web:
    return Web(connect_seconds=1.0, stall_seconds=stall_seconds, widest=Reach.LOOPBACK)
