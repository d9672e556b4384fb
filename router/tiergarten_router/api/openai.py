"""`/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`: OpenAI's API.

Streams are relayed event by event, each checked before it is passed on; whole answers are put
together from such a stream, because llama-server only cancels those.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from tiergarten_router import wire
from tiergarten_router.api import replies
from tiergarten_router.api.answers import relay
from tiergarten_router.api.client import Client, Door
from tiergarten_router.api.decode import decoder
from tiergarten_router.api.doors import Parts, door
from tiergarten_router.core import query as queries
from tiergarten_router.core.query import Query
from tiergarten_router.keeping import Whole
from tiergarten_router.upstream.intake import Event

T = TypeVar("T")


def chat(parts: Parts) -> Door:
    """Return the door of `/v1/chat/completions`."""
    return _generating(parts, decoder(wire.ChatBody), queries.chat, lambda w: w.chat())


def completions(parts: Parts) -> Door:
    """Return the door of `/v1/completions`."""
    return _generating(
        parts, decoder(wire.CompletionBody), queries.completion, lambda w: w.completion()
    )


def embeddings(parts: Parts) -> Door:
    """Return the door of `/v1/embeddings`."""
    decode = decoder(wire.EmbeddingsBody)

    async def serve(client: Client, body: bytes, ident: str) -> None:
        query = queries.embeddings(ident, decode(body))
        with parts.dispatcher.record(query, client.header) as record:
            vectors = await parts.dispatcher.body(record)
            client.reply(200, replies.JSON + replies.decided(record), vectors)

    return door(parts, serve)


def _generating(
    parts: Parts,
    decode: Callable[[bytes], T],
    build: Callable[[str, T], Query],
    encode: Callable[[Whole], bytes],
) -> Door:
    async def serve(client: Client, body: bytes, ident: str) -> None:
        query = build(ident, decode(body))
        if query.streams:
            shown = partial(_shown, wants_usage=query.wants_usage)
            await relay(parts, client, query, shown, lambda _: b"")
            return
        with parts.dispatcher.record(query, client.header) as record:
            whole = await parts.dispatcher.whole(record)
            client.reply(200, replies.JSON + replies.decided(record), encode(whole))

    return door(parts, serve)


def _shown(events: list[Event], *, wants_usage: bool) -> bytes:
    """Return the bytes of the events that the client asked for."""
    if not wants_usage:
        events = [event for event in events if not _is_usage(event.chunk)]
    return events[0].raw if len(events) == 1 else b"".join([event.raw for event in events])


def _is_usage(chunk: wire.Chunk | None) -> bool:
    return chunk is not None and not chunk.choices and chunk.usage is not None
