"""Answers that can be resumed: `X-Tiergarten-Resume: 1`, and `GET /v1/answers/{id}/stream`.

Such an answer is read from its endpoint by a task of its own and kept; its client is the first of
its readers. A client that was cut off asks for the rest by the answer's id and its last event's.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Callable
from typing import Final

import structlog

from tiergarten_router.api import doors, replies
from tiergarten_router.api.client import Client, Door
from tiergarten_router.api.doors import Parts
from tiergarten_router.api.waiting import Waiting
from tiergarten_router.cached import Cached
from tiergarten_router.core.query import Query
from tiergarten_router.errors import InvalidRequest, NotFound, RouterError, StreamBroken
from tiergarten_router.events.answers import Kept, Part
from tiergarten_router.record import Record
from tiergarten_router.upstream import sse
from tiergarten_router.upstream.intake import Event

PATH: Final = re.compile(rb"/v1/answers/([0-9a-f]{32})/stream")
PREFIX: Final = "/v1/answers/"  # all below it is the door's
HEADER: Final = b"x-tiergarten-resume"
GIVEN_UP: Final = "The answer was given up: nobody read it, or its router stopped."
PIECES: Final = re.compile(rb"[0-9]{1,9}")

log = structlog.get_logger()


async def relay(
    parts: Parts,
    client: Client,
    query: Query,
    shown: Callable[[list[Event]], bytes],
    last: Callable[[Record], bytes],
) -> None:
    """Answer a query with a stream: one that outlives its client, if it asks for that.

    The parameters are those of `doors.relay`, which does the other ones.

    Raises:
        RouterError: If the answer cannot begin, or breaks; the client has been told of the latter.
    """
    if client.header(HEADER) != b"1":
        await doors.relay(parts, client, query, shown, last)
        return
    record = parts.dispatcher.record(query, client.header)
    kept = parts.answers.begin()
    ident = b"x-tiergarten-answer: %b\r\n" % kept.id.encode()
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    writer = parts.answers.write(kept, _write(parts.dispatcher, kept, record, begun, shown, last))
    try:
        with Waiting(client, record, parts.deadlines, parts.settings.commit_seconds, ident):
            await asyncio.shield(begun)
    except BaseException:
        if client.began:  # it knows the id and may come back
            kept.watch()
        else:
            writer.cancel()
            parts.answers.forget(kept)
        raise
    if client.began:
        client.push(replies.late(record))
    else:
        client.begin(200, replies.SSE + replies.decided(record) + ident)
    await _send(client, kept.read(0), 0)


def door(parts: Parts) -> Door:
    """Return the door of `/v1/answers/{id}/stream`."""

    async def serve(client: Client, _: bytes, __: str) -> None:
        ident, after = _asked(client)
        await _send(client, parts.answers.read(ident, after), after)

    return doors.door(parts, serve, "GET")


def _asked(client: Client) -> tuple[str, int]:
    found = PATH.fullmatch(client.url.partition(b"?")[0])
    if found is None:
        raise _unknown()
    after = client.header(b"last-event-id") or b"0"
    if not PIECES.fullmatch(after):
        raise InvalidRequest("Last-Event-ID is a number, as the stream's id lines had it.")
    return found[1].decode(), int(after)


async def _send(client: Client, parts: AsyncGenerator[Part, None], after: int) -> None:
    """Send pieces with their numbers, so that the rest can be asked for."""
    async with contextlib.aclosing(parts):
        async for part in parts:
            if not client.began:
                client.begin(200, replies.SSE)
            data = b"".join(
                b"id: %d\n%b" % (number, piece)
                for number, piece in enumerate(part.pieces, after + 1)
            )
            after += len(part.pieces)
            await client.write(data, more=not part.ended)
    if not client.began:
        raise _unknown()
    if not client.response_complete:
        raise StreamBroken("The router that wrote this answer is gone.")


async def _write(
    dispatcher: Cached,
    kept: Kept,
    record: Record,
    begun: "asyncio.Future[None]",
    shown: Callable[[list[Event]], bytes],
    last: Callable[[Record], bytes],
) -> None:
    try:
        with record:
            await _copy(dispatcher, kept, record, begun, shown)
            end = last(record)
            if end:
                kept.write(end)
    except asyncio.CancelledError:
        kept.write(replies.error_event(StreamBroken(GIVEN_UP)))
        raise
    except RouterError as error:
        _fail(begun, kept, error)
    except Exception:
        log.exception("query_crashed", request_id=record.query.id)
        _fail(begun, kept, RouterError("The router failed."))
    finally:
        begun.cancel()
        kept.finish()


async def _copy(
    dispatcher: Cached,
    kept: Kept,
    record: Record,
    begun: "asyncio.Future[None]",
    shown: Callable[[list[Event]], bytes],
) -> None:
    answer = await dispatcher.stream(record)
    try:
        begun.set_result(None)
        splitter = sse.Splitter()
        while events := await answer.next():
            record.relayed(len(events))
            for piece in splitter.feed(shown(events)):  # each gets a number
                kept.write(piece)
            if kept.overflows:
                raise StreamBroken("The answer is larger than one that can be resumed may be.")
    finally:
        answer.close()


def _fail(begun: "asyncio.Future[None]", kept: Kept, error: RouterError) -> None:
    """Tell those who wait for the beginning, and those who come back."""
    kept.write(replies.error_event(error))
    if not begun.done():
        begun.set_exception(error)
        begun.exception()  # its client may have left meanwhile


def _unknown() -> NotFound:
    return NotFound("There is no such answer; it may be too old. See docs/events.md.")
