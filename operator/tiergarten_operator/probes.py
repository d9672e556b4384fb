"""The operator's own HTTP server: /healthz, /readyz and /metrics."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from tiergarten_operator.errors import NotUsable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Answers:
    """What the server asks before it answers.

    Attributes:
        ill: Returns why the process should be restarted; empty while it is well.
        unready: Returns why it does not work yet; empty when it does.
        metrics: Returns the metrics as Prometheus reads them.
    """

    ill: Callable[[], str]
    unready: Callable[[], str]
    metrics: Callable[[], bytes]


@asynccontextmanager
async def serve(answers: Answers, port: int, host: str = "0.0.0.0") -> AsyncIterator[int]:  # noqa: S104 -- a pod is reached at an address that it does not choose
    """Serve while the block runs, and yield the port.

    Args:
        answers: What is asked.
        port: The port; 0 for any that is free.
        host: The address.

    Raises:
        NotUsable: Somebody else has the port.
    """
    app = web.Application()

    def door(ask: Callable[[], str]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def answer(_: web.Request) -> web.StreamResponse:
            why = ask()
            return web.Response(text=f"{why or 'ok'}\n", status=503 if why else 200)

        return answer

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=answers.metrics(), headers={"Content-Type": CONTENT_TYPE})

    app.router.add_get("/healthz", door(answers.ill))
    app.router.add_get("/readyz", door(answers.unready))
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            cure = "set TIERGARTEN_HTTP_PORT to another"
            raise NotUsable(
                f"port {port}: cannot be listened on: {error.strerror}; {cure}"
            ) from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
