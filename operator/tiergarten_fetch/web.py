"""The one module that speaks HTTP: redirects by hand, addresses judged, errors translated.

Requests go out with `Accept-Encoding: identity`, because ranges and checksums are about the bytes
as they are stored. Proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`) are used; the proxy then
resolves names, and only numeric hosts are judged here.
"""

import http.cookiejar
import ssl
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from ipaddress import ip_address
from types import TracebackType
from typing import Self

import httpx

from tiergarten_fetch import addresses, hops, retries
from tiergarten_fetch.addresses import Reach
from tiergarten_fetch.errors import FetchError, FetchFailed, Interrupted, NotFound, Unauthorized
from tiergarten_fetch.hops import Secret

REDIRECTS = frozenset({301, 302, 303, 307, 308})
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
BODY_LIMIT = 16 * 1024 * 1024  # a hub lists a repository's files beside its commit
ADDRESSES = "tiergarten_addresses"


class Web:
    """An HTTP client for one fetch; used as `async with`.

    Args:
        connect_seconds: Longest time for a connection.
        stall_seconds: Longest silence of a source.
        widest: How far inside the first address of a fetch may lie.
        trusted: A URL whose origin may also be on loopback, because an administrator set it.
    """

    def __init__(
        self,
        *,
        connect_seconds: float,
        stall_seconds: float,
        widest: Reach = Reach.PRIVATE,
        trusted: httpx.URL | None = None,
    ) -> None:
        self._timeout = httpx.Timeout(stall_seconds, connect=connect_seconds)
        self._widest = widest
        self._trusted = trusted
        self._tls = httpx.create_ssl_context()
        self._direct = self._client(_Pinned(_transport(self._tls)))
        self._proxied: dict[str, httpx.AsyncClient] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in (self._direct, *self._proxied.values()):
            await client.aclose()

    @asynccontextmanager
    async def get(
        self, url: httpx.URL, secret: Secret | None, headers: Mapping[str, str]
    ) -> AsyncIterator[httpx.Response]:
        """Open the answer at the end of all redirects: 200, 206 or 416, with its body unread.

        Raises:
            FetchError: Any other answer, or none.
        """
        with translated(url):
            response = await self._follow("GET", url, secret, headers)
            try:
                if response.status_code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                    check(response, sent_secret=secret is not None)
                yield response
            finally:
                await response.aclose()

    async def head(self, url: httpx.URL, secret: Secret | None) -> list[httpx.Response]:
        """Return the closed answers to HEAD: the URL's own, redirects, and where they end.

        It stops at the first redirect to another origin that says what the file is: a hub tells
        size and checksum in the redirect itself.
        """
        with translated(url):
            answers: list[httpx.Response] = []
            response = await self._follow("HEAD", url, secret, {}, answers)
            await response.aclose()
            return [*answers, response]

    async def body(self, url: httpx.URL, secret: Secret | None) -> bytes:
        """Return a small answer's body."""
        async with self.get(url, secret, {}) as response:
            read = bytearray()
            async for part in response.aiter_bytes():
                read += part
                if len(read) > BODY_LIMIT:
                    raise FetchFailed(f"{hops.shown(url)}: answers with more than {BODY_LIMIT} B")
            return bytes(read)

    async def _follow(
        self,
        method: str,
        first: httpx.URL,
        secret: Secret | None,
        headers: Mapping[str, str],
        passed: list[httpx.Response] | None = None,
    ) -> httpx.Response:
        at, widest = first, self._widest
        if self._trusted is not None and hops.same_origin(first, self._trusted):
            widest = Reach.LOOPBACK
        for _ in range(hops.MOST_REDIRECTS + 1):
            response, reach = await self._send(
                method, at, hops.headers_for(first, at, secret, headers), widest
            )
            if response.status_code not in REDIRECTS or told(response):
                return response
            await response.aclose()
            if passed is not None:
                passed.append(response)
            at, widest = hops.follow(at, response.headers), min(widest, reach)
        raise FetchFailed(f"{hops.shown(first)}: redirects more than {hops.MOST_REDIRECTS} times")

    async def _send(
        self, method: str, at: httpx.URL, headers: Mapping[str, str], widest: Reach
    ) -> tuple[httpx.Response, Reach]:
        proxy = _proxy(at)
        found = _numeric(at.host) if proxy else await addresses.resolve(at.host, hops.port(at))
        reach = addresses.furthest(found) if found else Reach.PUBLIC
        hops.admit_reach(at, reach, widest)
        client = self._through(proxy) if proxy else self._direct
        request = client.build_request(
            method, at, headers=dict(headers), extensions={ADDRESSES: found}
        )
        return await client.send(request, stream=True), reach

    def _through(self, proxy: str) -> httpx.AsyncClient:
        if proxy not in self._proxied:
            self._proxied[proxy] = self._client(_transport(self._tls, proxy))
        return self._proxied[proxy]

    def _client(self, transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
        no_cookies = http.cookiejar.CookieJar(
            http.cookiejar.DefaultCookiePolicy(allowed_domains=[])
        )
        return httpx.AsyncClient(
            transport=transport,
            timeout=self._timeout,
            headers={"User-Agent": "tiergarten-fetch", "Accept-Encoding": "identity"},
            cookies=no_cookies,
            trust_env=False,
        )


class _Pinned(httpx.AsyncBaseTransport):
    """Connects to the addresses that were judged, with the host's name in TLS and `Host`."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        failure: httpx.TransportError | None = None
        for address in request.extensions[ADDRESSES]:
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                extensions={**request.extensions, "sni_hostname": request.url.host},
            )
            try:
                return await self._inner.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure or httpx.ConnectError("no address")

    async def aclose(self) -> None:
        await self._inner.aclose()


@contextmanager
def translated(url: httpx.URL) -> Iterator[None]:
    """Turn what httpx raises inside the block into our errors, with the cause kept."""
    try:
        yield
    except httpx.HTTPError as error:
        raise Interrupted(f"{hops.shown(url)}: {_said(error)}") from error


def told(response: httpx.Response) -> bool:
    """Return whether a HEAD's answer says by itself what the file is."""
    return response.request.method == "HEAD" and {"x-linked-etag", "x-linked-size"} <= set(
        response.headers
    )


def check(response: httpx.Response, *, sent_secret: bool) -> None:
    """Refuse an answer that is no success.

    Raises:
        FetchError: The one that its status means.
    """
    good = response.status_code in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
    if not good and not told(response):
        raise _refusal(response, sent_secret=sent_secret)


def _refusal(response: httpx.Response, *, sent_secret: bool) -> FetchError:
    status = response.status_code
    code = response.headers.get("x-error-code", "")
    known = f" ({code})" if code.isalpha() and code.isascii() and len(code) <= 40 else ""  # noqa: PLR2004 -- a word, not a text
    what = f"{hops.shown(response.request.url)}: answers {status}{known}"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        cure = "check that the secret is valid and may read it" if sent_secret else "set a secret"
        return Unauthorized(f"{what}; {cure} (tokenSecretRef, headerSecretRef)")
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return NotFound(f"{what}; check repo, revision, url and file names")
    if status in PASSING:
        asked = retries.retry_after(response.headers.get("retry-after"), datetime.now(UTC))
        return Interrupted(what, asked)
    return FetchFailed(what)


def _said(error: httpx.HTTPError) -> str:
    # Only a failed connection is quoted: other messages may hold headers or signed URLs.
    return str(error) if isinstance(error, httpx.ConnectError) else type(error).__name__


def _transport(tls: ssl.SSLContext, proxy: str | None = None) -> httpx.AsyncBaseTransport:
    # No connection is kept: one that is pinned to an address may serve another host's name.
    return httpx.AsyncHTTPTransport(
        verify=tls, proxy=proxy, limits=httpx.Limits(max_keepalive_connections=0)
    )


def _proxy(url: httpx.URL) -> str | None:
    if urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(url.scheme) or proxies.get("all")


def _numeric(host: str) -> tuple[str, ...]:
    try:
        return (str(ip_address(host)),)
    except ValueError:
        return ()
