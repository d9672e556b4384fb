"""Heads and bodies of answers: the headers that say what was decided, errors in OpenAI's shape."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final

from tiergarten_router import wire
from tiergarten_router.api.client import CLOSE, Client, Headers, Scope, lines
from tiergarten_router.errors import InvalidRequest, MethodNotAllowed, RouterError
from tiergarten_router.record import Record
from tiergarten_router.upstream import sse

JSON: Final = b"content-type: application/json\r\n"
SSE: Final = (
    b"content-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\n"
    b"x-accel-buffering: no\r\n"  # nginx in front must not collect events
)
DECIDED: Final = 8  # headers in `decided`
CLOSING: Final = frozenset({400, 408, 413, 431})  # after these, what follows cannot be trusted
_IDENT = re.compile(rb"[A-Za-z0-9._-]{1,64}")


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of this name, which is in lower case; None if there is none."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None


def request_id(scope: Scope, numbers: Iterator[str]) -> str:
    """Return the client's own request id if it is harmless, else a new one."""
    return identified(header(scope, b"x-request-id"), numbers)


def identified(given: bytes | None, numbers: Iterator[str]) -> str:
    """Return the id that a client gave if it is harmless, else a new one."""
    return given.decode() if given and _IDENT.fullmatch(given) else next(numbers)


def decided(record: Record) -> bytes:
    """Return the headers that say which tier answers, and why.

    Raises:
        ValueError: If one of them would hold a line break.
    """
    told = (
        f"x-request-id: {record.query.id}\r\n"
        f"x-tiergarten-tier: {record.tier}\r\n"
        f"x-tiergarten-score: {record.rated.score}\r\n"
        f"x-tiergarten-reasons: {', '.join(record.rated.reasons)}\r\n"
        f"x-tiergarten-endpoint: {record.endpoint}\r\n"
        f"x-tiergarten-attempts: {record.attempts}\r\n"
        f"x-tiergarten-cache: {record.cache}\r\n"
        f"server-timing: route;dur={1000 * record.routed_seconds:.1f}, "
        f"queue;dur={1000 * record.queue_seconds:.1f}, "
        f"first-token;dur={1000 * record.first_token_seconds:.1f}\r\n"
    ).encode()
    if told.count(b"\n") != DECIDED or told.count(b"\r") != DECIDED:
        raise ValueError("A header holds a line break.")
    return b"%bage: %d\r\n" % (told, record.age_seconds) if record.cache == "hit" else told


def undecided(record: Record) -> bytes:
    """Return the headers of an answer that began before it was known who gives it."""
    return lines(
        [
            (b"x-request-id", record.query.id.encode()),
            (b"x-tiergarten-score", b"%d" % record.rated.score),
            (b"x-tiergarten-reasons", ", ".join(record.rated.reasons).encode()),
            (b"x-tiergarten-cache", record.cache.encode()),
        ]
    )


def late(record: Record) -> bytes:
    """Return what was decided as comments of a stream whose headers had to go before."""
    return b"".join([b": %b\n" % line for line in decided(record).splitlines()]) + b"\n"


def error_headers(error: RouterError, ident: str) -> Headers:
    """Return the headers of an error's answer."""
    headers = [(b"content-type", b"application/json"), (b"x-request-id", ident.encode())]
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_seconds))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allowed.encode()))
    if isinstance(error, InvalidRequest) and error.status in CLOSING:
        headers.append((b"connection", b"close"))
    return headers


def error_body(error: RouterError) -> bytes:
    """Return an error in OpenAI's shape."""
    fields = {"message": error.message, "type": error.type, "code": error.code}
    return wire.encode({"error": {**fields, "param": error.param}})


def error_event(error: RouterError) -> bytes:
    """Return the event that ends a stream which broke; no `[DONE]` follows it."""
    fields = {"message": error.message, "type": "upstream_error", "code": error.code}
    return sse.frame(wire.encode({"error": {**fields, "param": None}}))


def refuse(client: Client, error: RouterError, ident: str) -> None:
    """Answer with an error: whole if nothing was said before, else as the stream's last event."""
    if client.response_complete:
        return
    if client.began:
        client.finish(error_event(error))
        return
    headers = error_headers(error, ident)
    if headers[-1][0] == b"connection":
        headers.pop()
        client.keep_alive = False
    client.reply(error.status, lines(headers), error_body(error))


def refusal(error: RouterError) -> bytes:
    """Return the whole answer to a request that is refused before it has a door."""
    body = error_body(error)
    status = b"HTTP/1.1 %d %b\r\n" % (error.status, HTTPStatus(error.status).phrase.encode())
    return b"%b%b%bcontent-length: %d\r\n\r\n%b" % (status, JSON, CLOSE, len(body), body)
