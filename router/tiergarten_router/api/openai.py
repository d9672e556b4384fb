"""`/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`: OpenAI's API.

Streams are relayed event by event, each checked before it is passed on; whole answers are put
together from such a stream, because llama-server only cancels those.
"""

from collections.abc import Callable
from typing import TypeVar

from tiergarten_router import wire
from tiergarten_router.api import replies
from tiergarten_router.api.client import ASGIApp, Client
from tiergarten_router.api.decode import decoder
from tiergarten_router.api.doors import Parts, door
from tiergarten_router.core import query as queries
from tiergarten_router.core.assembly import Assembly
from tiergarten_router.core.query import Query
from tiergarten_router.errors import RouterError
from tiergarten_router.upstream.stream import Event

T = TypeVar("T")


def chat(parts: Parts) -> ASGIApp:
    """Return the door of `/v1/chat/completions`."""
    return _generating(parts, decoder(wire.ChatBody), queries.chat, Assembly.chat)


def completions(parts: Parts) -> ASGIApp:
    """Return the door of `/v1/completions`."""
    return _generating(parts, decoder(wire.CompletionBody), queries.completion, Assembly.completion)


def embeddings(parts: Parts) -> ASGIApp:
    """Return the door of `/v1/embeddings`."""
    decode = decoder(wire.EmbeddingsBody)

    async def serve(client: Client, body: bytes, ident: str) -> None:
        with parts.dispatcher.record(queries.embeddings(ident, decode(body))) as record:
            vectors = await parts.dispatcher.body(record)
            await client.reply(200, [replies.JSON, *replies.decided(record)], vectors)

    return door(parts, serve)


def _generating(
    parts: Parts,
    decode: Callable[[bytes], T],
    build: Callable[[str, T], Query],
    encode: Callable[[Assembly], bytes],
) -> ASGIApp:
    async def serve(client: Client, body: bytes, ident: str) -> None:
        query = build(ident, decode(body))
        if query.streams:
            await _relay(parts, client, query)
            return
        with parts.dispatcher.record(query) as record:
            whole = await parts.dispatcher.whole(record)
            headers = [replies.JSON, *replies.decided(record)]
            await client.reply(200, headers, encode(whole))

    return door(parts, serve)


async def _relay(parts: Parts, client: Client, query: Query) -> None:
    with parts.dispatcher.record(query) as record:
        answer = await parts.dispatcher.stream(record)
        try:
            await client.begin(200, [*replies.SSE, *replies.decided(record)])
            while events := await answer.next():
                shown = _shown(events, wants_usage=query.wants_usage)
                if shown:
                    await client.write(shown)
        except RouterError as error:
            await replies.refuse(client, error, query.id)
            raise
        finally:
            answer.close()
        await client.write(b"", more=False)


def _shown(events: list[Event], *, wants_usage: bool) -> bytes:
    """Return the bytes of the events that the client asked for."""
    if not wants_usage:
        events = [event for event in events if not _is_usage(event.chunk)]
    return events[0].raw if len(events) == 1 else b"".join([event.raw for event in events])


def _is_usage(chunk: wire.Chunk | None) -> bool:
    return chunk is not None and not chunk.choices and chunk.usage is not None
