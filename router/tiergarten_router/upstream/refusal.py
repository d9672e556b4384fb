"""What an answer that is not 200 means: llama-server's statuses and error bodies as our errors.

Pure. Which of them are the client's fault matters twice: they are shown to the client, and they say
nothing about the endpoint's health.
"""

import re
from typing import Final

import msgspec

from tiergarten_router import wire
from tiergarten_router.core import context
from tiergarten_router.errors import (
    AttemptFailed,
    ContextOverflow,
    Misconfigured,
    NotReadyYet,
    Refused,
)

# llama-server calls these 500, although another endpoint would say the same.
CLIENT_FAULTS: Final = (
    "image input is not supported",
    "failed to parse messages",
    "failed to parse tool",  # `tools`, and the arguments of tool calls in messages
    "is too large to process",  # an input for embeddings
)
MESSAGE_MAX: Final = 500
_ADDRESS = re.compile(r"https?://\S+|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b")


def failure(status: int, body: bytes, retry_after: int | None) -> AttemptFailed:
    """Return what an answer of this status says.

    Args:
        status: HTTP status, not 200.
        body: The answer's body, as far as it was read.
        retry_after: Its `Retry-After` in seconds, or None.
    """
    return of_error(_error(body), status, retry_after)


def of_error(error: wire.UpstreamError, status: int, retry_after: int | None) -> AttemptFailed:
    """Return what an error object says that came with a status or inside a stream."""
    message = _ADDRESS.sub("…", error.message)[:MESSAGE_MAX]
    overflow = context.overflow(error)
    if overflow is not None:
        return ContextOverflow(message, overflow.prompt_tokens, overflow.slot_tokens)
    if status in {429, 503}:
        busy = message or "The endpoint is busy."
        return NotReadyYet(busy, retry_after_seconds=retry_after or 1, status=status)
    if status in {400, 413, 422} or (status == 500 and _is_client_fault(message)):  # noqa: PLR2004 -- HTTP statuses
        return Refused(message or "The request was refused.", 400)
    if status == 501:  # noqa: PLR2004 -- HTTP status
        return Refused(message or "The tier cannot do that.", 501)
    told = f"The endpoint answered with status {status}"
    is_ours = 400 <= status < 500  # noqa: PLR2004 -- HTTP statuses
    return (
        Misconfigured(f"{told}; see the tier's API key.") if is_ours else AttemptFailed(f"{told}.")
    )


def _is_client_fault(message: str) -> bool:
    lowered = message.lower()
    return any(fault in lowered for fault in CLIENT_FAULTS)


def _error(body: bytes) -> wire.UpstreamError:
    try:
        return wire.decode_error(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return wire.UpstreamError()
