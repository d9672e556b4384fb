"""An API server that does what it is told, request by request: the one fake of the kube tests.

    async with ScriptedApi([page(TIER), watch(added(TIER), end=True), refusal(410)]) as server:
        ...  # a list, a watch that ends, a watch that is refused, and then watches that stay open

It speaks plain HTTP/1.1 on loopback and closes each connection after its answer.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from listening import Listening

Manifest = dict[str, Any]
Step = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        path: Its path.
        query: Its query.
        token: The bearer token that came with it.
    """

    path: str
    query: dict[str, str]
    token: str

    @property
    def watches(self) -> bool:
        """Whether it is a watch."""
        return "watch" in self.query


class ScriptedApi(Listening):
    """The server, up inside `async with`.

    Args:
        steps: What is done with each request in turn; after the last one, watches stay open.

    Attributes:
        asked: The requests, in order.
    """

    def __init__(self, steps: Iterable[Step]) -> None:
        self.asked: list[Asked] = []
        self._steps = list(steps)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def left(self) -> int:
        """How many steps nobody has asked for yet."""
        return len(self._steps)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Do the next step with one request."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(_asked(head))
            step = self._steps.pop(0) if self._steps else watch()
            await step(writer)


def page(*items: Manifest, version: str = "1", more: str = "") -> Step:
    """Answer with a page of a list."""
    body = {"metadata": {"resourceVersion": version, "continue": more}, "items": items}
    return answer(200, json.dumps(body).encode())


def refusal(code: int, message: str = "no", reason: str = "", **headers: str) -> Step:
    """Answer with a Status."""
    body = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return answer(code, json.dumps(body).encode(), **headers)


def answer(code: int, body: bytes, **headers: str) -> Step:
    """Answer with some bytes."""

    async def step(writer: asyncio.StreamWriter) -> None:
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = (
            f"HTTP/1.1 {code} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n{more}\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()

    return step


def watch(*lines: Manifest | bytes, end: bool = False, cut: bool = False) -> Step:
    """Send the lines of a watch, and then nothing more.

    Args:
        lines: Events, or bytes as they are.
        end: End the watch properly.
        cut: End the connection in the middle of it.
    """

    async def step(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for line in lines:
            body = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            writer.write(b"%x\r\n%b\r\n" % (len(body), body))
        await writer.drain()
        if cut:
            writer.transport.abort()
        elif end:
            writer.write(b"0\r\n\r\n")
        else:
            await asyncio.Event().wait()

    return step


def silent() -> Step:
    """Take the request and say nothing."""

    async def step(_writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    return step


def added(item: Manifest, kind: str = "ADDED") -> Manifest:
    """Return an event about an object."""
    return {"type": kind, "object": item}


def bookmark(version: str) -> Manifest:
    """Return a bookmark."""
    return added({"metadata": {"resourceVersion": version}}, "BOOKMARK")


def error(code: int, message: str = "no") -> Manifest:
    """Return an error inside a watch."""
    return added({"kind": "Status", "code": code, "message": message}, "ERROR")


def item(name: str, version: str = "1", namespace: str = "ns", **fields: object) -> Manifest:
    """Return an object of no kind in particular."""
    metadata = {"name": name, "namespace": namespace, "resourceVersion": version}
    return {"metadata": metadata} | fields


def versions(asked: Sequence[Asked]) -> list[str]:
    """Return where each watch began; `list` for a list."""
    return [it.query["resourceVersion"] if it.watches else "list" for it in asked]


def _asked(head: str) -> Asked:
    first, *lines = head.splitlines()
    url = urlsplit(first.split()[1])
    headers = {
        name.lower(): value.strip() for name, _, value in (it.partition(":") for it in lines)
    }
    token = headers.get("authorization", "").removeprefix("Bearer ")
    return Asked(url.path, dict(parse_qsl(url.query)), token)
