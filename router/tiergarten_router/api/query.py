"""`/api/query`: a question in, an answer with everything that is known of its way out."""

from typing import Any

from tiergarten_router import wire
from tiergarten_router.api import replies
from tiergarten_router.api.answers import relay
from tiergarten_router.api.client import Client, Door
from tiergarten_router.api.decode import decoder
from tiergarten_router.api.doors import Parts, door
from tiergarten_router.core import query as queries
from tiergarten_router.core.query import Query
from tiergarten_router.errors import InvalidRequest
from tiergarten_router.record import Record
from tiergarten_router.upstream import sse
from tiergarten_router.upstream.intake import Event

PARAMS = {"model": "mode", "messages": "query"}  # ours for what the error tree calls OpenAI's


def query(parts: Parts) -> Door:
    """Return the door of `/api/query`."""
    decode = decoder(wire.QueryBody)

    async def serve(client: Client, body: bytes, ident: str) -> None:
        asked = as_chat(ident, decode(body))
        try:
            await (_stream if asked.streams else _whole)(parts, client, asked)
        except InvalidRequest as error:
            error.param = PARAMS.get(error.param or "", error.param)
            raise

    return door(parts, serve)


def as_chat(ident: str, body: wire.QueryBody) -> Query:
    """Return a question as a conversation of one message."""
    return queries.chat(
        ident,
        wire.ChatBody(
            model=body.mode,
            messages=[wire.Message(role="user", content=body.query)],
            max_tokens=body.max_tokens,
            temperature=body.temperature,
            stream=body.stream,
        ),
    )


async def _whole(parts: Parts, client: Client, asked: Query) -> None:
    with parts.dispatcher.record(asked, client.header) as record:
        whole = await parts.dispatcher.whole(record)
        body = wire.encode({"id": asked.id, "response": whole.text, **_facts(record)})
        client.reply(200, replies.JSON + replies.decided(record), body)


async def _stream(parts: Parts, client: Client, asked: Query) -> None:
    """Answer with `{"response": piece}` events, and a last one with the facts and `done`."""

    def last(record: Record) -> bytes:
        facts = {"id": asked.id, "done": True, **_facts(record)}
        return sse.frame(wire.encode(facts)) + sse.frame(b"[DONE]")

    await relay(parts, client, asked, _pieces, last)


def _pieces(events: list[Event]) -> bytes:
    piece = "".join(map(_said, events))
    return sse.frame(wire.encode({"response": piece})) if piece else b""


def _said(event: Event) -> str:
    """Return the text that an event adds to the first choice."""
    if event.chunk is None:
        return ""
    deltas = [choice.delta for choice in event.chunk.choices if choice.index == 0]
    return "".join(delta.content or "" for delta in deltas if delta is not None)


def _facts(record: Record) -> dict[str, Any]:
    usage, timings = record.usage or wire.Usage(), record.timings
    details = usage.prompt_tokens_details
    return {
        "model_tier": record.tier,
        "model": record.model,
        "score": record.rated.score,
        "reasons": record.rated.reasons,
        "latency_ms": round(1000 * (record.clock() - record.started), 1),
        "time_to_first_token_ms": round(1000 * record.first_token_seconds, 1),
        "tokens": {
            "prompt": usage.prompt_tokens,
            "cached": details.cached_tokens if details else 0,
            "completion": usage.completion_tokens,
            "per_second": round(timings.predicted_per_second, 1) if timings else None,
        },
        "cached": record.cache == "hit",
        "fallbacks": record.fallbacks,
        "context": {"tokens": 0, "sources": []},  # no provider of context is configured
    }
