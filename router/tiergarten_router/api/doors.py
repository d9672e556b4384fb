"""What every hot door shares: the client, the request id, errors, and the parts behind it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

import structlog

from tiergarten_router.api import answers, replies
from tiergarten_router.api.client import ASGIApp, Client, Receive, Scope, Send
from tiergarten_router.core.query import Query
from tiergarten_router.dispatch import Dispatcher
from tiergarten_router.errors import ClientGone, MethodNotAllowed, NoReadyTier, RouterError
from tiergarten_router.events.answers import Answers
from tiergarten_router.record import Record
from tiergarten_router.settings import Settings
from tiergarten_router.upstream.deadlines import Deadlines
from tiergarten_router.upstream.stream import Event

log = structlog.get_logger()
STOPPING: Final = "The router is stopping; ask again."


@dataclass(frozen=True, slots=True)
class Parts:
    """What doors are made of.

    Attributes:
        dispatcher: Answers queries.
        deadlines: The sweep.
        settings: Bounds.
        numbers: Request ids for those who bring none.
        answers: Answers that can be resumed.
    """

    dispatcher: Dispatcher
    deadlines: Deadlines
    settings: Settings
    numbers: Iterator[str]
    answers: Answers


Serve = Callable[[Client, bytes, str], Awaitable[None]]


def door(parts: Parts, serve: Serve) -> ASGIApp:
    """Return an ASGI application that takes POST requests.

    Args:
        parts: What it is made of.
        serve: Answers: the client, the body, and the request id. It may raise RouterError.
    """

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        ident = replies.request_id(scope, parts.numbers)
        client = Client(scope, receive, send, parts.deadlines, parts.settings)
        try:
            async with client:
                _check_method(scope)
                body = await client.body(replies.header(scope, b"content-length"))
                client.watch()
                await serve(client, body, ident)
        except ClientGone:
            return  # nobody is left to answer; the record says so
        except asyncio.CancelledError:  # the grace of a stop is over
            await replies.refuse(client, NoReadyTier(STOPPING, retry_after_seconds=1), ident)
            raise
        except RouterError as error:
            await replies.refuse(client, error, ident)
        except Exception:
            log.exception("query_crashed", request_id=ident)
            await replies.refuse(client, RouterError("The router failed."), ident)

    return application


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
    if answers.wanted(client):
        await answers.relay(parts.dispatcher, parts.answers, client, query, shown, last)
        return
    with parts.dispatcher.record(query) as record:
        answer = await parts.dispatcher.stream(record)
        try:
            await client.begin(200, [*replies.SSE, *replies.decided(record)])
            while events := await answer.next():
                record.relayed(len(events))
                if body := shown(events):
                    await client.write(body)
        except RouterError as error:
            await replies.refuse(client, error, query.id)
            raise
        finally:
            answer.close()
        await client.write(last(record), more=False)


def _check_method(scope: Scope) -> None:
    if scope["method"] != "POST":
        raise MethodNotAllowed("POST")
