"""A proxy before a real API server that breaks what it passes on, on command.

It ends TLS with the API server's own certificate, is the administrator towards the API server, and
runs in a thread of its own, so that any test may use it.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from aiohttp import ClientSession, TCPConnector, web

from kit.plan import Plan

WRITES = ("POST", "PUT", "PATCH", "DELETE")
PASSED = ("Accept", "Content-Type")


@dataclass(eq=False)
class Watch:
    """A watch that is passed on."""

    out: web.StreamResponse
    transport: asyncio.Transport
    silent: bool = False

    def reset(self) -> None:
        """Close it by a TCP reset."""
        connection: socket.socket = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


@dataclass(frozen=True)
class Refusal:
    """An answer in place of the API server's."""

    status: int
    headers: dict[str, str]

    def answer(self) -> web.Response:
        body = {"kind": "Status", "status": "Failure", "code": self.status, "message": "not now"}
        return web.json_response(body, status=self.status, headers=self.headers)


class ApiProxy:
    """A proxy before the API server of a test cluster.

    Attributes:
        kubeconfig: How to log in through it.
        writes: When a write came, and the status that it got, by path.
        gone: How many watches the API server ended with 410.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.kubeconfig = folder / "proxy.kubeconfig"
        self.writes: dict[str, list[tuple[float, int]]] = {}
        self.gone = 0
        self._plan, self._closed = plan, False
        self._refusals: list[Refusal] = []
        self._watches: set[Watch] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(20)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def refuse_writes(self, times: int, status: int, **headers: str) -> None:
        """Answer the next writes with a status of our own."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._refusals += [Refusal(status, named)] * times

    def reset_watches(self) -> None:
        """Close every watch by a TCP reset."""

        def reset() -> None:
            for watch in self._watches:
                watch.reset()

        self._call(reset)

    def silence_watches(self) -> None:
        """Let every watch that runs stay open, and show nothing more."""

        def silence() -> None:
            for watch in self._watches:
                watch.silent = True

        self._call(silence)

    def end_watches(self) -> None:
        """End every watch with an error of its own, as when etcd changes its leader."""
        error = {"kind": "Status", "code": 500, "message": "etcdserver: leader changed"}
        line = json.dumps({"type": "ERROR", "object": error}).encode() + b"\n"
        for watch in list(self._watches):
            with contextlib.suppress(ConnectionError):
                asyncio.run_coroutine_threadsafe(watch.out.write(line), self._loop).result(5)

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Reset what runs, and let nothing through while the block runs."""
        self._closed = True
        self.reset_watches()
        try:
            yield
        finally:
            self._closed = False

    def _call(self, function: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(function)

    async def _start(self) -> None:
        pki, at = self._plan.pki, self._plan.addresses
        upwards = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        upwards.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        connector = TCPConnector(ssl=upwards, limit=0)
        self._session = ClientSession(f"https://{at.api}:{at.port}", connector=connector)
        down = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        down.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=down).start()
        self._write_kubeconfig(int(self._runner.addresses[0][1]))

    async def _end(self) -> None:
        await self._session.close()
        await self._runner.cleanup()

    def _write_kubeconfig(self, port: int) -> None:
        document = json.loads((self._plan.pki / "admin.kubeconfig").read_text())
        document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        self.kubeconfig.write_text(json.dumps(document))

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if self._closed:
            return Refusal(503, {}).answer()
        if request.method not in WRITES:
            return await self._forward(request)
        refused = self._refusals.pop().answer() if self._refusals else None
        answer = refused or await self._forward(request)
        self.writes.setdefault(request.path, []).append((time.monotonic(), answer.status))
        return answer

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in PASSED if name in request.headers}
        body = await request.read()
        asked = self._session.request(
            request.method, request.path_qs, data=body or None, headers=headers
        )
        async with asked as answer:
            out = web.StreamResponse(status=answer.status)
            out.content_type = answer.content_type
            with contextlib.suppress(ConnectionError):  # the client left
                await out.prepare(request)
                await self._copy(request, answer, out)
        return out

    async def _copy(self, request: web.Request, answer: Any, out: web.StreamResponse) -> None:
        assert isinstance(request.transport, asyncio.Transport)
        watch = Watch(out, request.transport)
        if "watch" in request.query:
            self._watches.add(watch)
        try:
            async for chunk in answer.content.iter_any():
                self.gone += b'"code":410' in chunk
                if not watch.silent:
                    await out.write(chunk)
        finally:
            self._watches.discard(watch)
