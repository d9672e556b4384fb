"""Probes and metrics on a port of their own, served by a thread with a loop of its own.

However busy the router's loop is, the thread gets its turn within milliseconds. It only reads.
"""

import asyncio
import socket
import threading
from types import TracebackType
from typing import Final, Self

import uvicorn
import uvloop
from fastapi import FastAPI

from tiergarten_router.api import ops, protocol
from tiergarten_router.api.ops import State
from tiergarten_router.settings import Settings
from tiergarten_router.upstream.deadlines import Deadlines

BACKLOG: Final = 64
LEAVE_SECONDS: Final = 1  # for a scrape that is on its way


class Aside:
    """The thread and its port, inside `async with`.

    Args:
        state: What is told.
        settings: Bounds of requests.
        host: Address to listen on.
        port: Port to listen on; 0 for no port and no thread.
    """

    def __init__(self, state: State, settings: Settings, host: str, port: int) -> None:
        self._state = state
        self._settings = settings
        self._address = (host, port)
        self._thread: threading.Thread | None = None
        self._server: uvicorn.Server | None = None

    async def __aenter__(self) -> Self:
        """Open the port.

        Raises:
            OSError: If it is taken, or may not be opened.
        """
        if self._address[1]:
            sock = self._bound()
            self._thread = threading.Thread(target=self._run, args=(sock,), name="ops", daemon=True)
            self._thread.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the thread."""
        if self._thread is None:
            return
        if self._server is not None:
            self._server.should_exit = True
        await asyncio.to_thread(self._thread.join, 2 * LEAVE_SECONDS)

    def _bound(self) -> socket.socket:
        try:
            return socket.create_server(self._address, backlog=BACKLOG)
        except OSError as error:
            port = self._address[1]
            cure = f"port {port}: {error.strerror}; set TIERGARTEN_OPS_PORT to a free one"
            raise OSError(error.errno, cure) from error

    def _run(self, sock: socket.socket) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, sock:
            runner.run(self._serve(sock))

    async def _serve(self, sock: socket.socket) -> None:
        deadlines = Deadlines()
        app = FastAPI(openapi_url=None)
        app.include_router(ops.router(self._state))
        config = uvicorn.Config(
            app,
            http=protocol.wired({}, deadlines, self._settings),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=LEAVE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        sweep = asyncio.create_task(deadlines.run())
        await self._server.serve([sock])
        sweep.cancel()
