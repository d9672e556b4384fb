"""Answers that can be resumed: `X-Tiergarten-Resume: 1`, and `GET /v1/answers/{id}/stream`.

Such an answer is read from its endpoint by a task of its own and kept; its client is the first of
its readers. A client that was cut off asks for the rest by the answer's id and its last event's.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog

from tiergarten_router.api import replies
from tiergarten_router.api.client import ASGIApp, Client, Receive, Scope, Send
from tiergarten_router.core.query import Query
from tiergarten_router.dispatch import Dispatcher
from tiergarten_router.errors import (
    ClientGone,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RouterError,
    StreamBroken,
)
from tiergarten_router.events.answers import Answers, Kept, Part
from tiergarten_router.record import Record
from tiergarten_router.settings import Settings
from tiergarten_router.upstream.deadlines import Deadlines
from tiergarten_router.upstream.stream import Event

PATH: Final = re.compile(r"/v1/answers/([0-9a-f]{32})/stream")
PREFIX: Final = "/v1/answers/"
HEADER: Final = b"x-tiergarten-resume"
GIVEN_UP: Final = "The answer was given up: nobody read it, or its router stopped."
PIECES: Final = re.compile(rb"[0-9]{1,9}")

log = structlog.get_logger()


async def relay(
    dispatcher: Dispatcher,
    answers: Answers,
    client: Client,
    query: Query,
    shown: Callable[[list[Event]], bytes],
    last: Callable[[Record], bytes],
) -> None:
    """Answer a query with a stream that outlives its client; the parameters are `doors.relay`'s.

    Raises:
        RouterError: If the answer cannot begin.
    """
    kept = answers.begin()
    begun: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
    writer = answers.write(kept, _write(dispatcher, kept, query, begun, shown, last))
    try:
        record = await asyncio.shield(begun)
    except BaseException:  # nobody has learnt its id
        writer.cancel()
        answers.forget(kept)
        raise
    ident = (b"x-tiergarten-answer", kept.id.encode())
    await client.begin(200, [*replies.SSE, *replies.decided(record), ident])
    await _send(client, kept.read(0), 0)


def door(answers: Answers, deadlines: Deadlines, settings: Settings, others: ASGIApp) -> ASGIApp:
    """Return the door of `/v1/answers/{id}/stream`; other paths go to others."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith(PREFIX):
            await others(scope, receive, send)
            return
        client = Client(scope, receive, send, deadlines, settings)
        try:
            async with client:
                ident, after = _asked(scope)
                client.watch()
                await _resume(client, answers.read(ident, after), after)
        except ClientGone:
            return
        except RouterError as error:
            await replies.refuse(client, error, "-")

    return application


def _asked(scope: Scope) -> tuple[str, int]:
    found = PATH.fullmatch(scope["path"])
    if found is None:
        raise _unknown()
    if scope["method"] != "GET":
        raise MethodNotAllowed("GET")
    after = replies.header(scope, b"last-event-id") or b"0"
    if not PIECES.fullmatch(after):
        raise InvalidRequest("Last-Event-ID is a number, as the stream's id lines had it.")
    return found[1], int(after)


async def _resume(client: Client, parts: AsyncIterator[Part], after: int) -> None:
    first = await anext(parts, None)
    if first is None:
        raise _unknown()

    async def all_of_them() -> AsyncIterator[Part]:
        yield first
        async for part in parts:
            yield part

    await client.begin(200, [*replies.SSE])
    await _send(client, all_of_them(), after)


async def _send(client: Client, parts: AsyncIterator[Part], after: int) -> None:
    """Send pieces with their numbers, so that the rest can be asked for."""
    async for part in parts:
        data = b"".join(
            b"id: %d\n%s" % (number, piece) for number, piece in enumerate(part.pieces, after + 1)
        )
        after += len(part.pieces)
        await client.write(data, more=not part.ended)
    if not client.ended:
        raise StreamBroken("The router that wrote this answer is gone.")


async def _write(
    dispatcher: Dispatcher,
    kept: Kept,
    query: Query,
    begun: "asyncio.Future[Record]",
    shown: Callable[[list[Event]], bytes],
    last: Callable[[Record], bytes],
) -> None:
    try:
        with dispatcher.record(query) as record:
            await _copy(dispatcher, kept, record, begun, shown)
            end = last(record)
            if end:
                kept.write(end)
    except asyncio.CancelledError:
        if begun.done():
            kept.write(replies.error_event(StreamBroken(GIVEN_UP)))
        raise
    except RouterError as error:
        _fail(begun, kept, error)
    except Exception:
        log.exception("query_crashed", request_id=query.id)
        _fail(begun, kept, RouterError("The router failed."))
    finally:
        begun.cancel()
        kept.finish()


async def _copy(
    dispatcher: Dispatcher,
    kept: Kept,
    record: Record,
    begun: "asyncio.Future[Record]",
    shown: Callable[[list[Event]], bytes],
) -> None:
    answer = await dispatcher.stream(record)
    try:
        begun.set_result(record)
        while events := await answer.next():
            record.relayed(len(events))
            for event in events:
                body = shown([event])
                if body:
                    kept.write(body)
            if kept.overflows:
                raise StreamBroken("The answer is larger than one that can be resumed may be.")
    finally:
        answer.close()


def _fail(begun: "asyncio.Future[Record]", kept: Kept, error: RouterError) -> None:
    if not begun.done():
        begun.set_exception(error)
    else:
        kept.write(replies.error_event(error))


def _unknown() -> NotFound:
    return NotFound("There is no such answer; it may be too old. See docs/events.md.")


def wanted(client: Client) -> bool:
    """Return whether a client asks for an answer that can be resumed."""
    return replies.header(client.scope, HEADER) == b"1"
