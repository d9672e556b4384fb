"""Heads and bodies of answers: the headers that say what was decided, errors in OpenAI's shape."""

import re
from collections.abc import Iterator
from typing import Final

from tiergarten_router import wire
from tiergarten_router.api.client import Client, Headers, Scope
from tiergarten_router.errors import BodyTimeout, MethodNotAllowed, RouterError
from tiergarten_router.record import Record
from tiergarten_router.upstream import sse

JSON: Final = (b"content-type", b"application/json")
SSE: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx in front must not collect events
)
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
    given = header(scope, b"x-request-id")
    return given.decode() if given and _IDENT.fullmatch(given) else next(numbers)


def decided(record: Record) -> Headers:
    """Return the headers that say which tier answers, and why."""
    return [
        (b"x-request-id", record.query.id.encode()),
        (b"x-tiergarten-tier", record.tier.encode()),
        (b"x-tiergarten-score", b"%d" % record.rated.score),
        (b"x-tiergarten-reasons", ", ".join(record.rated.reasons).encode()),
        (b"x-tiergarten-endpoint", record.endpoint.encode()),
        (b"x-tiergarten-attempts", b"%d" % record.attempts),
        (b"x-tiergarten-cache", record.cache.encode()),
        (b"server-timing", _timing(record)),
    ]


def undecided(record: Record) -> Headers:
    """Return the headers of an answer that began before it was known who gives it."""
    return [
        (b"x-request-id", record.query.id.encode()),
        (b"x-tiergarten-score", b"%d" % record.rated.score),
        (b"x-tiergarten-reasons", ", ".join(record.rated.reasons).encode()),
        (b"x-tiergarten-cache", record.cache.encode()),
    ]


def decided_late(record: Record) -> bytes:
    """Return the same as comments, for a stream that began before it was known."""
    lines = (b": %b: %b\n" % (name, value) for name, value in decided(record))
    return b"".join(lines) + b"\n"


def status_of(error: RouterError) -> int:
    """Return the HTTP status of an error."""
    return error.status


def error_headers(error: RouterError, ident: str) -> Headers:
    """Return the headers of an error's answer."""
    headers = [JSON, (b"x-request-id", ident.encode())]
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_seconds))
    if isinstance(error, BodyTimeout):
        headers.append((b"connection", b"close"))  # the rest of the body is not waited for
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allowed.encode()))
    return headers


def error_body(error: RouterError) -> bytes:
    """Return an error in OpenAI's shape."""
    fields = {"message": error.message, "type": error.type, "code": error.code}
    return wire.encode({"error": {**fields, "param": error.param}})


def error_event(error: RouterError) -> bytes:
    """Return the event that ends a stream which broke; no `[DONE]` follows it."""
    fields = {"message": error.message, "type": "upstream_error", "code": error.code}
    return sse.frame(wire.encode({"error": {**fields, "param": None}}))


async def refuse(client: Client, error: RouterError, ident: str) -> None:
    """Answer with an error: whole if nothing was said before, else as the stream's last event."""
    if client.ended:
        return
    if client.began:
        await client.write(error_event(error), more=False)
        return
    await client.reply(status_of(error), error_headers(error, ident), error_body(error))


def _timing(record: Record) -> bytes:
    phases = {
        "route": record.routed_seconds,
        "queue": record.queue_seconds,
        "first-token": record.first_token_seconds,
    }
    return b", ".join(
        b"%s;dur=%.1f" % (name.encode(), 1000 * value) for name, value in phases.items()
    )
