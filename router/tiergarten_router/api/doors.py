"""What every hot door shares: the client, the request id, errors, and the parts behind it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from tiergarten_router.api import replies
from tiergarten_router.api.client import Client, Door
from tiergarten_router.api.waiting import Waiting
from tiergarten_router.cached import Cached
from tiergarten_router.core.query import Query
from tiergarten_router.errors import MethodNotAllowed, NoReadyTier, RouterError
from tiergarten_router.events.answers import Answers
from tiergarten_router.keeping import Streamed
from tiergarten_router.record import Record
from tiergarten_router.settings import Settings
from tiergarten_router.upstream.deadlines import Deadlines
from tiergarten_router.upstream.intake import Event

log = structlog.get_logger()
STOPPING: Final = "The router is stopping; ask again."


@dataclass(frozen=True, slots=True)
class Parts:
    """What doors are made of.

    Attributes:
        dispatcher: Answers queries, by the cache where it may.
        deadlines: The sweep.
        settings: Bounds.
        numbers: Request ids for those who bring none.
        answers: Answers that can be resumed.
    """

    dispatcher: Cached
    deadlines: Deadlines
    settings: Settings
    numbers: Iterator[str]
    answers: Answers


class Numbered(Protocol):
    """What every door needs."""

    @property
    def numbers(self) -> Iterator[str]:
        """Request ids for those who bring none."""
        ...


Serve = Callable[[Client, bytes, str], Awaitable[None]]


def door(parts: Numbered, serve: Serve, method: str = "POST") -> Door:
    """Return a hot door.

    Args:
        parts: What it is made of.
        serve: Answers: the client, the body, and the request id. It may raise RouterError.
        method: The only method that it takes.
    """

    async def answer(client: Client) -> None:
        ident = replies.identified(client.header(b"x-request-id"), parts.numbers)
        try:
            _check_method(client.method, method)
            await serve(client, client.body(), ident)
        except asyncio.CancelledError:
            if client.gone:
                return  # nobody is left to answer; the record says so
            replies.refuse(client, NoReadyTier(STOPPING, retry_after_seconds=1), ident)
            raise  # the grace of a stop is over
        except RouterError as error:
            replies.refuse(client, error, ident)
        except Exception:
            log.exception("query_crashed", request_id=ident)
            replies.refuse(client, RouterError("The router failed."), ident)

    return answer


async def relay(
    parts: Parts,
    client: Client,
    query: Query,
    shown: Callable[[list[Event]], bytes],
    last: Callable[[Record], bytes],
) -> None:
    """Answer a query with a stream.

    Args:
        parts: What the door is made of.
        client: Who asks.
        query: What is asked.
        shown: Returns what the client gets to see of some events; nothing is sent for no bytes.
        last: Returns the end of the stream; an answer that breaks ends with an error event instead.

    Raises:
        RouterError: If the answer cannot begin, or breaks; the client has been told of the latter.
    """
    with parts.dispatcher.record(query, client.header) as record:
        answer: Streamed | None = None
        try:
            with Waiting(client, record, parts.deadlines, parts.settings.commit_seconds):
                answer = await parts.dispatcher.stream(record)
            held = await _pass_on(client, record, answer, shown)
        except RouterError as error:
            replies.refuse(client, error, query.id)
            raise
        finally:
            if answer is not None:
                answer.close()
        client.finish(held + last(record))


async def _pass_on(
    client: Client, record: Record, answer: Streamed, shown: Callable[[list[Event]], bytes]
) -> bytes:
    """Send an answer's events: in the moment in which they come, or once the client reads.

    Returns:
        What came last; it goes out together with the end.
    """

    def push(events: list[Event]) -> bool:
        if client.paused:
            return False
        record.relayed(len(events))
        if body := shown(events):
            client.push(body)
        return True

    if client.began:
        client.push(replies.late(record))
    else:
        client.begin(200, replies.SSE + replies.decided(record))
    answer.tap(push)
    held = b""
    while events := await answer.next():
        record.relayed(len(events))
        body = shown(events)
        if answer.whole:
            held = body
        elif body:
            await client.write(body)
    return held


def _check_method(method: bytes, taken: str) -> None:
    if method.decode() != taken:
        raise MethodNotAllowed(taken)
