"""Keeps a table equal to what the API server has of one kind in one place: a list, then a watch.

    list -> watch -> (the server ends it, as it does every few minutes) -> watch
                  -> (410, an ERROR, garbage) -> list
                  -> (no connection, silence) -> back-off -> watch

Whatever goes wrong, the table stays as it was, and the next try comes after a back-off with jitter.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import aiohttp
import msgspec
import structlog

from tiergarten_router.sources.kube import objects
from tiergarten_router.sources.kube.api import Api, Broken, Expired, Failed
from tiergarten_router.sources.kube.objects import Key
from tiergarten_router.sources.kube.reading import Unreadable
from tiergarten_router.sources.kube.table import Table

log = structlog.get_logger()
_Item = TypeVar("_Item")

BREATHER: Final = 10  # objects that are read before other tasks get a turn
LONGEST_SECONDS: Final = 30.0  # pause that the server may ask for
GONE: Final = 410


@dataclass(frozen=True, slots=True)
class Bounds:
    """How patient a reflector is, and how much it takes.

    Attributes:
        silence_seconds: Longest time without a byte of a watch; bookmarks come every minute.
        list_seconds: Longest time for a page of a list.
        watch_seconds: After this time, and up to half of it more, the server ends a watch.
        least_seconds: First pause after a failure.
        most_seconds: Longest pause.
        steady_seconds: A watch of this length counts as good: the next failure is a first one.
        page_bytes: Largest page of a list.
        line_bytes: Largest event; etcd takes objects of up to 1.5 MiB.
    """

    silence_seconds: float = 75.0
    list_seconds: float = 30.0
    watch_seconds: float = 300.0
    least_seconds: float = 0.5
    most_seconds: float = 10.0
    steady_seconds: float = 10.0
    page_bytes: int = 256 << 20
    line_bytes: int = 8 << 20


@dataclass(frozen=True, slots=True)
class Kind(Generic[_Item]):
    """What is followed.

    Attributes:
        version: Group and version, as in the URL.
        plural: The kind, as in the URL.
        read: Makes an item of an object; raises Unreadable.
        selector: Labels that the objects have.
        page: Objects of one answer.
    """

    version: str
    plural: str
    read: Callable[[bytes | msgspec.Raw], _Item]
    selector: str = ""
    page: int = 500

    def path(self, namespace: str | None) -> str:
        """Return the path of a namespace's objects; of all for None."""
        where = "" if namespace is None else f"/namespaces/{namespace}"
        return f"/apis/{self.version}{where}/{self.plural}"


class Reflector(Generic[_Item]):
    """Follows one kind.

    Args:
        kind: What.
        namespace: Where; None: everywhere.
        table: Where it goes.
        bounds: How patient it is.
        clock: Monotonic seconds.
        draw: A random number from 0 to 1, for jitter.

    Attributes:
        synced: Whether the table was equal to the server's once.
        heard_at: Clock time of the last answer, event or bookmark; that of the start before.
        trouble: Why it does not follow at the moment; empty when it does.
    """

    def __init__(
        self,
        kind: Kind[_Item],
        namespace: str | None,
        table: Table[_Item],
        bounds: Bounds,
        clock: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self.synced = False
        self.heard_at = clock()
        self.trouble = "the first list is not there yet"
        self._kind, self._namespace, self._table = kind, namespace, table
        self._bounds, self._clock, self._draw = bounds, clock, draw
        self._path = kind.path(namespace)
        self._version = ""  # to watch from; empty: a list is needed

    async def run(self, api: Api) -> None:
        """Follow until cancelled."""
        failures = 0
        while True:
            began, pause = self._clock(), 0.0
            try:
                if not self._version:
                    await self._list(api)
                await self._watch(api)
            except Failed as error:
                if error.relists:
                    self._version = ""
                self._fail(error)
                pause = error.retry_after_seconds
            except Exception as error:
                self._version = ""
                self._fail(Failed(type(error).__name__, "an error of the router; see its log"))
                log.exception("reflector_crashed", path=self._path)
            steady = self._clock() - began >= self._bounds.steady_seconds
            failures = 0 if steady else failures + 1
            await asyncio.sleep(self._pause(failures, pause))

    def _pause(self, failures: int, wanted: float) -> float:
        """Return the seconds until the next try."""
        bounds = self._bounds
        longest = min(bounds.most_seconds, bounds.least_seconds * 2.0 ** min(failures - 1, 16))
        backoff = longest * (0.5 + self._draw() / 2) if failures else 0.0
        return max(backoff, min(wanted, LONGEST_SECONDS))

    def _fail(self, error: Failed) -> None:
        if isinstance(error, Expired):
            log.info("watch_expired", path=self._path, message=error.message)
            return
        if error.message != self.trouble:  # said once, not at every try
            log.warning("api_not_followed", path=self._path, reason=error.reason,
                        message=error.message)  # fmt: skip
        self.trouble = error.message

    def _hear(self) -> None:
        if self.trouble and self.synced:
            log.info("api_followed", path=self._path)
        self.heard_at = self._clock()
        self.trouble = ""

    # -- list

    async def _list(self, api: Api) -> None:
        """Make the table equal to what is there now."""
        found: dict[Key, _Item | Unreadable] = {}
        query = self._query({"limit": str(self._kind.page)})
        while True:
            page = await self._page(api, query)
            for number, raw in enumerate(page.items or ()):
                if number % BREATHER == BREATHER - 1:
                    await asyncio.sleep(0)
                found[_head(raw).key] = self._read(raw)
            if not page.metadata.continue_:
                break
            query["continue"] = page.metadata.continue_
        self._table.replace(self._namespace, found)
        self._version = page.metadata.resource_version
        self.synced = True
        self._hear()

    async def _page(self, api: Api, query: dict[str, str]) -> objects.Page:
        seconds = self._bounds.list_seconds
        async with api.get(self._path, query, within=seconds, silence=seconds) as answer:
            body = bytearray()
            async for part in answer.content.iter_any():
                body += part
                if len(body) > self._bounds.page_bytes:
                    raise _garbled(f"a page of more than {self._bounds.page_bytes} bytes")
        try:
            return objects.page(body)
        except msgspec.MsgspecError as error:
            raise _garbled(str(error)) from error

    # -- watch

    async def _watch(self, api: Api) -> None:
        """Follow the changes until the server ends the watch."""
        seconds = self._bounds.watch_seconds * (1 + self._draw() / 2)
        query = self._query(
            {
                "watch": "1",
                "allowWatchBookmarks": "true",
                "resourceVersion": self._version,
                "timeoutSeconds": str(max(1, round(seconds))),
            }
        )
        silence = self._bounds.silence_seconds
        async with api.get(self._path, query, within=None, silence=silence) as answer:
            self._hear()
            async for line in _lines(answer, self._bounds.line_bytes):
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            event = objects.event(line)
            if event.type == "ERROR":
                raise _told(event.object)
            meta = _head(event.object)
        except msgspec.MsgspecError as error:
            raise _garbled(str(error)) from error
        self._hear()
        if event.type == "DELETED":
            self._table.drop(meta.key)
        elif event.type != "BOOKMARK":
            self._table.put(meta.key, self._read(event.object))
        self._version = meta.resource_version

    # -- both

    def _query(self, query: dict[str, str]) -> dict[str, str]:
        return query | ({"labelSelector": self._kind.selector} if self._kind.selector else {})

    def _read(self, raw: msgspec.Raw) -> _Item | Unreadable:
        try:
            return self._kind.read(raw)
        except Unreadable as error:
            return error


def _head(raw: msgspec.Raw) -> objects.Meta:
    return objects.head(raw).metadata


def _told(raw: msgspec.Raw) -> Failed:
    """Return the error that a watch tells of."""
    said = objects.status(raw)
    if said.code == GONE:
        return Expired("Expired", said.message)
    return Broken(said.reason or "Error", f"the watch ended: {said.code} {said.message}"[:500])


def _garbled(what: str) -> Failed:
    return Broken("Garbled", f"the API server sent what cannot be read: {what}"[:500])


async def _lines(answer: aiohttp.ClientResponse, most: int) -> AsyncIterator[bytes]:
    """Yield the lines of an answer; aiohttp's own reader of lines takes short ones only."""
    rest = b""
    async for part in answer.content.iter_any():
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            if line:
                yield line
        if len(rest) > most:
            raise _garbled(f"a line of more than {most} bytes")
