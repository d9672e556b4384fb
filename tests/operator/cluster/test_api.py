"""Requests, and what becomes of every answer and of none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from tiergarten_operator.cluster import api
from tiergarten_operator.cluster.api import Api, Request, connect
from tiergarten_operator.errors import (
    ApiError,
    Conflict,
    NotThere,
    NotUsable,
    Rejected,
    Unreachable,
)
from tiergarten_operator.facts import DEPLOYMENT, SERVICE, TIER

GET = Request("get it", "GET", "/x")


@asynccontextmanager
async def answering(
    folder: Path, answer: web.Response, seconds: float = 5
) -> AsyncIterator[tuple[Api, list[bool]]]:
    """Serve one answer to everything, and yield what asks for it."""
    told: list[bool] = []

    async def door(_: web.Request) -> web.Response:
        return answer

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", door)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with connect(kubeconfig(folder, runner.addresses[0][1]), seconds, told.append) as server:
        yield server, told
        await runner.cleanup()


def kubeconfig(folder: Path, port: int) -> Path:
    document = {
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "test", "user": {"token": "secret"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(document))
    return file


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (403, Rejected),
        (404, NotThere),
        (405, NotThere),
        (409, Conflict),
        (410, Conflict),
        (413, Rejected),
        (422, Rejected),
        (401, Unreachable),
        (429, Unreachable),
        (500, Unreachable),
        (504, Unreachable),
    ],
)
async def test_every_refusal_is_an_error_with_the_servers_words(
    tmp_path: Path, status: int, kind: type[Exception]
) -> None:
    answer = web.json_response({"message": "the words"}, status=status)
    async with answering(tmp_path, answer) as (server, told):
        with pytest.raises(kind, match=r"get it: .*the words") as caught:
            await server.send(GET)

    assert told == [True]
    assert isinstance(caught.value, ApiError) == (kind is not Unreachable)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("soon", None), ("", None)])
async def test_when_to_come_back_is_kept(
    tmp_path: Path, header: str, seconds: float | None
) -> None:
    answer = web.Response(status=429, text="no JSON", headers={"Retry-After": header})
    async with answering(tmp_path, answer) as (server, _):
        with pytest.raises(Unreachable, match="no JSON") as caught:
            await server.send(GET)

    assert caught.value.retry_after_seconds == seconds


async def test_no_answer_is_told(tmp_path: Path) -> None:
    told: list[bool] = []
    async with connect(kubeconfig(tmp_path, 1), 5, told.append) as server:
        with pytest.raises(Unreachable, match="get it: ClientConnector"):
            await server.send(GET)

    assert told == [False]


async def test_kopf_gets_the_same_login(tmp_path: Path) -> None:
    async with connect(kubeconfig(tmp_path, 1), 5) as server:
        found = await server.credentials()

    assert (found.server, found.token) == ("http://127.0.0.1:1", "secret")


async def test_a_pods_account_is_used_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    monkeypatch.delenv("KUBECONFIG", raising=False)

    with pytest.raises(NotUsable, match="this pod's account"):  # here it is not mounted
        async with connect(None, 5):
            pass


def test_paths_are_the_api_servers() -> None:
    assert api.path(SERVICE, "a", "q4") == "/api/v1/namespaces/a/services/q4"
    assert api.path(DEPLOYMENT, None) == "/apis/apps/v1/deployments"
    assert api.path(TIER, "a", "q4", "status").endswith("/namespaces/a/modeltiers/q4/status")
