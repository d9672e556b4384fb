"""An imitation of the model hub, and of a plain web server, that misbehaves on command.

Tests of the fetcher import it (`import hub`). It knows the hub's two URLs,
`/api/models/REPO/revision/REV` and `/REPO/resolve/COMMIT/FILE`, and serves the same files below
`/files/` as any web server would: HEAD, `Range`, `If-Range`, strong ETags. With `content` set it
redirects downloads to another server, as the real hub does to its content network.

    async with Hub({"model.gguf": payload}) as hub:
        hub.gets += [cut(1000), refuse(503)]  # two faulty downloads, then good ones
        ...
        assert hub.secrets == set()

A *fault* turns the good behaviour into another one; `behaviours` says what a behaviour is.
"""

import asyncio
import hashlib
import re
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from behaviours import Behaviour, End, Request, Step, head, page
from playing import Connection, Play

REPO = "org/tiny-GGUF"
COMMIT = "c0ffee" + "0" * 34
PIECE = 16 * 1024
SECRET_HEADERS = ("authorization", "x-api-key", "cookie", "proxy-authorization")

Fault = Callable[[Behaviour], Behaviour]


class Hub:
    """A server, up inside `async with`; on loopback unless told otherwise.

    Args:
        files: Their bytes by name.
        host: The name that the server's URL is made with; `localhost` is another host.
        listens: The address that it listens at; pods of a test's node do not reach loopback.
        token: Answers 401 to requests without it, unless it is empty.
        content: Where downloads are redirected to; None to serve them itself.
        tls: Certificate and key, to speak https.

    Attributes:
        heads, gets, apis: Faults of the next requests of that kind, used up in order.
        etags: ETags by name in place of the sha256, quoted or weak; None for no ETag.
        requests: All that was received, in order.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        host: str = "127.0.0.1",
        listens: str = "127.0.0.1",
        token: str = "",
        content: "Hub | None" = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.files = dict(files)
        self.host, self.listens = host, listens
        self.port = 0
        self.token = token
        self.content = content
        self.tls = tls
        self.commit = COMMIT
        self.etags: dict[str, str | None] = {}
        self.heads: list[Fault] = []
        self.gets: list[Fault] = []
        self.apis: list[Fault] = []
        self.requests: list[Request] = []
        self._connections: set[Connection] = set()
        self._failures: list[Exception] = []
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    @property
    def downloads(self) -> list[Request]:
        """The GETs of files."""
        return [one for one in self.requests if one.method == "GET" and "/api/" not in one.path]

    @property
    def ranges(self) -> list[str | None]:
        """The `Range` of each download."""
        return [one.headers.get("range") for one in self.downloads]

    @property
    def secrets(self) -> set[str]:
        """The values of all headers that a secret may be in."""
        return {
            one.headers[name]
            for one in self.requests
            for name in SECRET_HEADERS
            if name in one.headers
        }

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self), self.listens, self.port, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in tuple(self._connections):
            connection.end(End.FIN if self.tls else End.RESET)  # TLS has no socket to reset
        await self.until(lambda: not self._connections)
        await self._server.wait_closed()
        if self._failures and kind is None:
            raise self._failures[0]

    async def until(self, holds: Callable[[], bool], timeout: float = 10.0) -> None:  # noqa: ASYNC109 # the bound is part of what a test asserts
        """Wait until `holds()`, looked at whenever a request or connection comes or goes."""
        async with asyncio.timeout(timeout):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    def opened(self, connection: Connection) -> None:
        """Keep an accepted connection."""
        self._connections.add(connection)

    def gone(self, connection: Connection) -> None:
        """Forget a closed connection."""
        self._connections.discard(connection)
        self._changed.set()

    def failed(self, failure: Exception) -> None:
        """Keep what a script raised: leaving `async with` raises it."""
        self._failures.append(failure)

    async def answering(self, request: Request, play: Play) -> End:
        """Play the good behaviour, or what the next fault makes of it."""
        self.requests.append(request)
        self._changed.set()
        faults = {"HEAD": self.heads, "GET": self.gets}[request.method]
        if request.path.startswith("/api/"):
            faults = self.apis
        behaviour = self._good(request)
        if faults:
            behaviour = faults.pop(0)(behaviour)
        return await play(behaviour(request))

    def _good(self, request: Request) -> Behaviour:
        path = unquote(re.sub(r"^http://[^/]+|\?.*", "", request.path))  # a proxy gets a whole URL
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            return page({"error": "Invalid credentials"}, 401, "X-Error-Code: GatedRepo")
        if match := re.fullmatch(rf"/api/models/{REPO}/revision/(.+)", path):
            known = match[1] in ("main", "refs/pr/1", self.commit)
            return page({"sha": self.commit}) if known else _missing("RevisionNotFound")
        match = re.fullmatch(rf"/(?:{REPO}/resolve/{self.commit}|files)/(.+)", path)
        if match is None or match[1] not in self.files:
            return _missing("EntryNotFound")
        linked = not path.startswith("/files/")
        extra = [f"X-Repo-Commit: {self.commit}"] * linked
        if linked and self.content is not None:
            return self._redirected(match[1], extra)
        return self._served(match[1], extra)

    def _redirected(self, name: str, extra: list[str]) -> Behaviour:
        assert self.content is not None
        payload = self.files[name]
        told = [f'X-Linked-Etag: "{sha256(payload)}"', f"X-Linked-Size: {len(payload)}", *extra]
        return redirect(f"{self.content.url}/files/{name}?signature=hidden", *told)(never_played)

    def _served(self, name: str, extra: list[str]) -> Behaviour:
        payload = self.files[name]
        etag = self.etags.get(name, f'"{sha256(payload)}"')
        tag = [f"ETag: {etag}"] if etag is not None else []

        def steps(request: Request) -> Iterator[Step]:
            begin = _asked(request, etag)
            if begin >= len(payload) > 0:
                beyond = f"Content-Range: bytes */{len(payload)}"
                yield head(416, "text/plain", "Content-Length: 0", beyond)
                return
            size = len(payload) - begin
            where = [f"Content-Range: bytes {begin}-{len(payload) - 1}/{len(payload)}"]
            headers = [f"Content-Length: {size}", "Accept-Ranges: bytes", *tag, *extra]
            partial = "range" in request.headers and begin > 0
            headers += where * partial
            yield head(206 if partial else 200, "application/octet-stream", *headers)
            if request.method == "GET":
                for at in range(begin, len(payload), PIECE):
                    yield payload[at : at + PIECE]

        return steps


def sha256(payload: bytes) -> str:
    """Return the payload's sha256 in hexadecimal."""
    return hashlib.sha256(payload).hexdigest()


def never_played(_request: Request) -> Iterable[Step]:
    """Stand for a behaviour that a fault replaces."""
    raise AssertionError("is replaced")


def refuse(status: int, *headers: str) -> Fault:
    """Return the fault that answers with a status and an error for people."""
    return lambda _: page({"error": f"status {status}"}, status, *headers)


def redirect(location: str, *headers: str, status: int = 302) -> Fault:
    """Return the fault that leads somewhere else; an empty location is left out."""
    where = [f"Location: {location}"] if location else []
    return lambda _: lambda _: (head(status, "text/plain", "Content-Length: 0", *where, *headers),)


def cut(after: int, end: End = End.FIN) -> Fault:
    """Return the fault that ends the exchange once so many bytes of the body are out."""

    def fault(good: Behaviour) -> Behaviour:
        def steps(request: Request) -> Iterator[Step]:
            left = after
            for number, step in enumerate(good(request)):
                if number == 0 or not isinstance(step, bytes):
                    yield step
                    continue
                yield step[:left]
                left -= len(step)
                if left <= 0:
                    break
            yield end

        return steps

    return fault


def hold(after: int, until: asyncio.Event) -> Fault:
    """Return the fault that waits once so many bytes of the body are out."""

    def fault(good: Behaviour) -> Behaviour:
        def steps(request: Request) -> Iterator[Step]:
            yield from (step for step in cut(after)(good)(request) if not isinstance(step, End))
            yield until
            sent = 0
            for number, step in enumerate(good(request)):
                if number and isinstance(step, bytes):
                    yield step[max(after - sent, 0) :]
                    sent += len(step)

        return steps

    return fault


def edit(pattern: bytes, replacement: bytes) -> Fault:
    """Return the fault that changes the answer's header lines by a regular expression."""

    def fault(good: Behaviour) -> Behaviour:
        def steps(request: Request) -> Iterator[Step]:
            for number, step in enumerate(good(request)):
                if number == 0 and isinstance(step, bytes):
                    yield re.sub(pattern, replacement, step)
                else:
                    yield step

        return steps

    return fault


def whole(good: Behaviour) -> Behaviour:
    """Answer with all of the file whatever range was asked for: the fault of simple servers."""

    def steps(request: Request) -> Iterable[Step]:
        headers = {name: it for name, it in request.headers.items() if "range" not in name}
        return good(Request(request.method, request.path, headers, request.body, request.raw))

    return steps


def good(behaviour: Behaviour) -> Behaviour:
    """Change nothing: for a good answer between faults."""
    return behaviour


def _missing(code: str) -> Behaviour:
    return page({"error": "not found"}, 404, f"X-Error-Code: {code}")


def _asked(request: Request, etag: str | None) -> int:
    """Return the byte that a request wants to begin at; 0 if the file is another one by now."""
    match = re.fullmatch(r"bytes=(\d+)-(?:\d+)?", request.headers.get("range", ""))
    stale = request.headers.get("if-range", etag) != etag
    return 0 if match is None or stale else int(match[1])
