"""Asks the demo's router over HTTP, as any client would, and returns what a client sees."""

import asyncio
import json
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final

import httpx

from tiergarten_router.cli.tour import Seen, Step

CHAT: Final = "/v1/chat/completions"
QUERY: Final = "/api/query"
MOST_AT_ONCE: Final = 8
LATE: Final = ": x-tiergarten-"  # headers that came as comments, as the wait was long
LEAST_SECONDS: Final = 0.005  # an answer that came at once has no speed that could be measured


async def asked(http: httpx.AsyncClient, step: Step, text: str = "") -> Seen:
    """Ask a step's question at `/api/query`.

    Args:
        http: A client whose base URL is the router's.
        step: The step.
        text: What to ask instead of the step's text.
    """
    body: dict[str, object] = {"query": text or step.text, "mode": step.model}
    if step.temperature is not None:
        body["temperature"] = step.temperature
    try:
        answer = await http.post(QUERY, json=body)
    except httpx.HTTPError as error:
        return _lost(error)
    return replied(answer.status_code, answer.headers, answer.json())


async def burst(http: httpx.AsyncClient, step: Step) -> list[Seen]:
    """Ask a step's question many times at once, worded a little differently each time."""
    texts = [f"{number}. {step.text}" for number in range(1, MOST_AT_ONCE + 1)]
    return await asyncio.gather(*(asked(http, step, text) for text in texts))


async def chatted(http: httpx.AsyncClient, step: Step) -> Seen:
    """Ask a step's question as a streamed chat; the times are the client's own."""
    messages = [{"role": "user", "content": step.text}]
    if step.context:
        messages.insert(0, {"role": "system", "content": step.context})
    body = {
        "model": step.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    heard = Heard()
    try:
        async with http.stream("POST", CHAT, json=body) as answer:
            if not answer.is_success:
                told = json.loads(await answer.aread())
                return replied(answer.status_code, answer.headers, told)
            async for line in answer.aiter_lines():
                heard.hear(line)
    except httpx.HTTPError as error:
        return _lost(error)
    return heard.seen(answer.status_code, answer.headers)


def _lost(error: httpx.HTTPError) -> Seen:
    return Seen(0, f"{type(error).__name__}: {error}")


def replied(status: int, headers: Mapping[str, str], body: Mapping[str, Any]) -> Seen:
    """Return what a whole reply shows.

    Args:
        status: HTTP status.
        headers: Headers, found by names in lower case.
        body: The reply of `/api/query`, or an error in OpenAI's shape.
    """
    if "error" in body:
        return Seen(status, body["error"]["message"], body["error"]["code"])
    cache = headers.get("x-tiergarten-cache", "")
    return Seen(
        status,
        body["response"],
        tier=body["model_tier"],
        endpoint=headers.get("x-tiergarten-endpoint", ""),
        score=str(body["score"]),
        reasons=", ".join(body["reasons"]),
        first_ms=body["time_to_first_token_ms"],
        total_ms=body["latency_ms"],
        speed=None if cache == "hit" else body["tokens"]["per_second"],
        fallbacks=tuple(body["fallbacks"]),
        cache=cache,
    )


class Heard:
    """What has come of a stream so far."""

    def __init__(self) -> None:
        self._text = ""
        self._tokens = 0
        self._begin = perf_counter()
        self._first: float | None = None
        self._late: dict[str, str] = {}

    def hear(self, line: str) -> None:
        """Take in a line of the stream."""
        if line.startswith(LATE):
            name, _, value = line.removeprefix(": ").partition(": ")
            self._late[name] = value
        data = line.removeprefix("data: ")
        if not data.startswith("{"):
            return
        event: dict[str, Any] = json.loads(data)
        pieces = (choice["delta"].get("content") or "" for choice in event.get("choices", ()))
        self._text += "".join(pieces)
        self._tokens = (event.get("usage") or {}).get("completion_tokens", self._tokens)
        if self._text and self._first is None:
            self._first = perf_counter() - self._begin

    def seen(self, status: int, headers: Mapping[str, str]) -> Seen:
        """Return what a client has seen; the stream is over."""
        total = perf_counter() - self._begin
        writing = total - (self._first or 0.0)
        headers = {**headers, **self._late}
        return Seen(
            status,
            self._text,
            tier=headers.get("x-tiergarten-tier", ""),
            endpoint=headers.get("x-tiergarten-endpoint", ""),
            score=headers.get("x-tiergarten-score", ""),
            reasons=headers.get("x-tiergarten-reasons", ""),
            first_ms=None if self._first is None else 1000 * self._first,
            total_ms=1000 * total,
            speed=self._tokens / writing if writing > LEAST_SECONDS else None,
            cache=headers.get("x-tiergarten-cache", ""),
        )
