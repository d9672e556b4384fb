"""Requests to an API server: how failures are told, and how a refused login is renewed."""

import asyncio

import aiohttp
import pytest

from scripted_api import ScriptedApi, Step, answer, page, refusal, silent
from tiergarten_router.sources.kube.api import Api, Expired, Failed, Unreachable
from tiergarten_router.sources.kube.login import Access, NoLogin


class Tokens:
    """A login whose tokens a test chooses."""

    namespace = "ns"
    trust_env = False

    def __init__(self, server: str, *tokens: str) -> None:
        self._server, self._tokens = server, list(tokens)

    async def access(self, *, refused: bool = False) -> Access:
        if refused:
            self._tokens.pop(0)
        if not self._tokens:
            raise NoLogin("token: cannot be read")
        return Access(self._server, None, self._tokens[0])


async def asked(*steps: Step, tokens: tuple[str, ...] = ("t",), silence: float = 5) -> list[str]:
    """Ask a scripted server once; return the tokens that it saw."""
    async with ScriptedApi(steps) as server, aiohttp.ClientSession() as session:
        api = Api(Tokens(server.url, *tokens), session)
        async with api.get("/x", {"q": "1"}, within=None, silence=silence) as found:
            await found.read()
        assert {it.path for it in server.asked} == {"/x"}
        return [it.token for it in server.asked]


async def test_the_token_goes_with_each_request() -> None:
    assert await asked(page()) == ["t"]
    assert await asked(page(), tokens=("",)) == [""]


async def test_a_token_that_is_refused_is_read_again_once() -> None:
    assert await asked(refusal(401), page(), tokens=("old", "new")) == ["old", "new"]

    with pytest.raises(Failed, match="see that the login is valid"):
        await asked(refusal(401), refusal(401), tokens=("old", "new"))


@pytest.mark.parametrize(
    ("step", "reason", "words"),
    [
        (refusal(403, "x cannot list y", "Forbidden"), "Forbidden", "get, list and watch"),
        (refusal(404, "no such thing"), "404", "custom resource definitions"),
        (refusal(500, "broken"), "500", "500 broken"),
        (answer(502, b"<html>"), "502", "502"),
        (answer(302, b"", Location="http://127.0.0.1:9/"), "302", "302"),
    ],
)
async def test_a_refusal_has_the_server_s_words_and_a_cure(
    step: Step, reason: str, words: str
) -> None:
    with pytest.raises(Failed, match=words) as caught:
        await asked(step)

    assert caught.value.reason == reason


async def test_a_busy_server_says_when_to_come_back() -> None:
    with pytest.raises(Failed) as caught:
        await asked(refusal(429, "busy", Retry_After="7"))

    assert caught.value.retry_after_seconds == 7


async def test_a_version_that_is_too_old_is_told_apart() -> None:
    with pytest.raises(Expired, match="too old"):
        await asked(refusal(410, "too old"))


async def test_silence_is_no_answer() -> None:
    with pytest.raises(Unreachable, match="does not answer"):
        await asked(silent(), silence=0.1)


async def test_a_server_that_is_not_there_is_no_answer() -> None:
    async with ScriptedApi([]) as server:
        gone = server.url
    async with aiohttp.ClientSession() as session:
        with pytest.raises(Unreachable, match="does not answer"):
            async with Api(Tokens(gone, "t"), session).get("/x", {}, within=1, silence=1):
                pass


async def test_an_answer_that_breaks_off_is_no_answer() -> None:
    async def half(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await writer.drain()

    with pytest.raises(Unreachable):
        await asked(half)


async def test_without_a_login_nothing_is_asked() -> None:
    with pytest.raises(Unreachable, match="token: cannot be read"):
        await asked(tokens=())


def test_keys_stay_out_of_what_is_shown() -> None:
    assert "secret" not in repr(Access("https://x", None, "secret"))
