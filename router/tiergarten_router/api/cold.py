"""What is not hot: the doors that FastAPI serves, the documents of all, and WebSockets."""

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from tiergarten_router.api import events, failures, openapi, ops, tiers
from tiergarten_router.api.client import ASGIApp, Receive, Scope, Send
from tiergarten_router.api.ops import State


def doors(
    state: State, clock: Callable[[], float], created: int, numbers: Iterator[str]
) -> FastAPI:
    """Return the doors that FastAPI serves, with a description of the hot ones too.

    Args:
        state: What they tell of.
        clock: Monotonic seconds.
        created: Unix time that models are said to be of.
        numbers: Request ids for those who bring none.
    """
    app = FastAPI(
        title="Tiergarten",
        version=version("tiergarten"),
        description="Every query is answered by the cheapest tier that is good enough.",
    )
    app.include_router(tiers.router(state.fleet, clock, created))
    app.include_router(events.schema())
    app.include_router(ops.router(state))
    failures.render(app, numbers)
    document = app.openapi

    def extended() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = openapi.extend(document())
        return app.openapi_schema

    app.openapi = extended  # type: ignore[method-assign]  # as FastAPI's own guide does
    return app


def application(others: ASGIApp, sockets: Mapping[str, ASGIApp]) -> ASGIApp:
    """Return what serves WebSockets by their path, and leaves requests to others."""

    async def edge(scope: Scope, receive: Receive, send: Send) -> None:
        door = others if scope["type"] == "http" else sockets.get(scope["path"], events.nowhere)
        await door(scope, receive, send)

    return edge
