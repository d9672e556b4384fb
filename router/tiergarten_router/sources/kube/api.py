"""Requests to the API server over aiohttp, and what may go wrong. Called by `reflector`."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import ClassVar, Final

import aiohttp

from tiergarten_router.sources.kube import objects
from tiergarten_router.sources.kube.login import Access, Login, NoLogin

CONNECT_SECONDS: Final = 10.0
ERROR_BYTES: Final = 64 * 1024
# The server's own words name the account, the verb and the resource.
CURES: Final[Mapping[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "see that the login is valid for this cluster",
    HTTPStatus.FORBIDDEN: "give the account get, list and watch on it (docs/kubernetes.md)",
    HTTPStatus.NOT_FOUND: "apply the custom resource definitions (docs/kubernetes.md)",
}


class Failed(Exception):
    """The API server did not do what was asked.

    Args:
        reason: One word, for logs.
        message: A sentence for people, with the cure if there is one.
        retry_after_seconds: When to come back, if the server says so.

    Attributes:
        relists: Whether only a new list can help.
    """

    relists: ClassVar[bool] = False

    def __init__(self, reason: str, message: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retry_after_seconds = retry_after_seconds


class Expired(Failed):
    """The version that was asked for is too old (410)."""

    relists = True


class Broken(Failed):
    """A watch told of an error, or the server sent what cannot be read."""

    relists = True


class Unreachable(Failed):
    """There was no answer."""


class Api:
    """The API server.

    Args:
        login: How to log in.
        session: Sends requests.
    """

    def __init__(self, login: Login, session: aiohttp.ClientSession) -> None:
        self._login, self._session = login, session

    @asynccontextmanager
    async def get(
        self, path: str, query: Mapping[str, str], *, within: float | None, silence: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask, and yield an answer whose status is 200; closed at the end of the block.

        Args:
            path: The path, with a slash in front.
            query: The query.
            within: Longest time for the whole answer, None for a watch.
            silence: Longest time without a byte.

        Raises:
            Failed: If there is no such answer, or it breaks off inside the block.
        """
        limits = aiohttp.ClientTimeout(
            total=within, sock_connect=CONNECT_SECONDS, connect=CONNECT_SECONDS, sock_read=silence
        )
        try:
            answer = await self._ask(path, query, limits)
            async with answer:
                try:
                    if answer.status != HTTPStatus.OK:
                        raise await _refusal(answer)
                    yield answer
                finally:
                    _abandon(answer)
        except (aiohttp.ClientError, asyncio.IncompleteReadError, OSError) as error:
            # TimeoutError is an OSError
            reason = type(error).__name__
            raise Unreachable(reason, f"the API server does not answer ({reason})") from error
        except NoLogin as error:
            raise Unreachable("NoLogin", str(error)) from error

    async def _ask(
        self, path: str, query: Mapping[str, str], limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        answer = await self._send(await self._login.access(), path, query, limits)
        if answer.status != HTTPStatus.UNAUTHORIZED:
            return answer
        answer.close()  # the token may have been renewed in this moment
        return await self._send(await self._login.access(refused=True), path, query, limits)

    async def _send(
        self, access: Access, path: str, query: Mapping[str, str], limits: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        return await self._session.get(
            access.server + path,
            params=query,
            headers={"Authorization": f"Bearer {access.token}"} if access.token else {},
            ssl=access.tls or True,
            server_hostname=access.server_name,
            proxy=access.proxy,
            timeout=limits,
            allow_redirects=False,  # the token is for nobody else
        )


def _abandon(answer: aiohttp.ClientResponse) -> None:
    """End the connection of an answer that is not read to its end, as a watch never is.

    TLS would wait for the other side's good-bye, which a frozen server does not say.
    """
    connection = answer.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


async def _refusal(answer: aiohttp.ClientResponse) -> Failed:
    said = objects.status(await answer.content.read(ERROR_BYTES))
    status = answer.status
    if status == HTTPStatus.GONE:
        return Expired("Expired", said.message)
    cure = CURES.get(status, "")
    message = f"{status} {said.message or answer.reason or ''}".strip()[:500]
    after = answer.headers.get("Retry-After", "")
    return Failed(
        said.reason or str(status),
        f"{message}; {cure}" if cure else message,
        float(after) if after.isdecimal() else 0.0,
    )
