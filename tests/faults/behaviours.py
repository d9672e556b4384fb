"""What the scripted upstream may do: answers like llama-server's, and faults made of them.

Pure: no sockets and no clock. Tests take these names from `upstream`, whose server plays them.

A *behaviour* turns a request into *steps*: bytes are written, a number is slept (seconds), an
`asyncio.Event` is waited for, an `End` ends the exchange. `cut`, `insert` and `dribble` make faulty
behaviours out of good ones and count steps of bytes: a stream has one for its headers, one for the
role chunk, one for each piece of content, and so on; a whole answer has headers and body.

Not in it: tokenising (a word is a token).
"""

import asyncio
import enum
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

BEFORE_BYTE = 0
AFTER_HEADERS = 1
PROGRESS_BATCHES = 2  # prompt_progress chunks, sent when a request has return_progress
SLOT_TOKENS = 4096  # tokens a slot holds, as /props tells


class End(enum.Enum):
    """How an exchange ends: whole (keep-alive), by RST, by FIN, or in silence without an end."""

    KEEP = "keep"
    RESET = "reset"
    FIN = "fin"
    HANG = "hang"


@dataclass(frozen=True)
class Request:
    """A request as received; header names are in lower case, body is None if it is not JSON."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    raw: bytes

    @property
    def prompt_tokens(self) -> int:
        """Words of all messages, or of the prompt, input or content."""
        body = self.body if isinstance(self.body, dict) else {}
        texts = [m.get("content") for m in body.get("messages", [])]
        texts += [body.get(name) for name in ("prompt", "input", "content")]
        return sum(len(str(text).split()) for text in texts if text)


Step = bytes | float | asyncio.Event | End
Behaviour = Callable[[Request], Iterable[Step]]
Piece = str | Mapping[str, object]


def after_content(count: int) -> int:
    """Return the step after `count` pieces of content; 0 is after the role chunk."""
    return AFTER_HEADERS + 1 + count


def always(behaviour: Behaviour) -> Callable[[Request], Behaviour]:
    """Return a script that answers every query alike."""
    return lambda _request: behaviour


def answer(
    text: str | Sequence[Piece] = "Hello from the upstream.",
    *,
    finish: str = "stop",
    done: bool = True,
    gap: float = 0.0,
    sizes: Sequence[int] = (),
    cached: int = 0,
) -> Behaviour:
    """Return a good answer, streamed if the request says so.

    Args:
        text: What is said, a word an event; or the pieces, where a mapping is a delta as it is.
        finish: The `finish_reason`.
        done: Whether `[DONE]` follows.
        gap: Seconds before each event.
        sizes: Sizes in bytes, in turn, into which the payload is cut regardless of its events.
        cached: Prompt tokens that count as taken from the prompt cache.
    """
    pieces = re.findall(r"^\S+| \S+", text) if isinstance(text, str) else list(text)

    def steps(request: Request) -> Iterator[Step]:
        end = _Ending(finish, request.prompt_tokens, cached, len(pieces))
        if not (isinstance(request.body, dict) and request.body.get("stream")):
            yield from page(_whole(request, pieces, end))(request)
            return
        events = [_sse(event) for event in _events(request, pieces, end)]
        events += [b"data: [DONE]\n\n"] * done
        yield head(200, "text/event-stream", "Transfer-Encoding: chunked", "X-Accel-Buffering: no")
        for payload in _cut_up(b"".join(events), sizes) if sizes else events:
            if gap:
                yield gap
            yield chunk(payload)
        yield b"0\r\n\r\n"
        yield End.FIN

    return steps


def page(body: object, status: int = 200, *headers: str) -> Behaviour:
    """Return a whole answer: JSON, or text if `body` is a string."""
    payload = (body if isinstance(body, str) else json.dumps(body)).encode()
    kind = "text/plain; version=0.0.4" if isinstance(body, str) else "application/json"
    return lambda _: (head(status, kind, f"Content-Length: {len(payload)}", *headers), payload)


def error(
    status: int, message: str, kind: str, *headers: str, **fields: int | str | None
) -> Behaviour:
    """Return an error in llama-server's shape, `{"error": {code, message, type, ...}}`."""
    return page(
        {"error": {"code": status, "message": message, "type": kind} | fields}, status, *headers
    )


def loading() -> Behaviour:
    """Return the 503 of a server that still loads its model."""
    return error(503, "Loading model", "unavailable_error")


def saturated(retry_after: int = 1) -> Behaviour:
    """Return a 429 that says when to come back, in seconds."""
    return error(429, "Too many requests", "rate_limit_error", f"Retry-After: {retry_after}")


def context_overflow(prompt_tokens: int = 24010, context: int = SLOT_TOKENS) -> Behaviour:
    """Return the 400 for a prompt that a slot cannot hold."""
    request = f"request ({prompt_tokens} tokens)"
    message = f"{request} exceeds the available context size ({context} tokens), try increasing it"
    kind = "exceed_context_size_error"
    return error(400, message, kind, n_prompt_tokens=prompt_tokens, n_ctx=context)


def not_http() -> Behaviour:
    """Return another protocol's greeting."""
    return lambda _: (b"SSH-2.0-OpenSSH_9.2p1\r\n", End.FIN)


def huge_header(size: int = 1 << 20) -> Behaviour:
    """Return an answer with a header of `size` bytes."""
    return page({}, 200, "X-Padding: " + "x" * size)


def never() -> Behaviour:
    """Return a behaviour that takes the request and never says a byte."""
    return lambda _: (End.HANG,)


def cut(behaviour: Behaviour, at: int, end: End) -> Behaviour:
    """Return the behaviour up to `at` steps of bytes, and then `end`."""

    def steps(request: Request) -> Iterator[Step]:
        sent = 0
        for step in behaviour(request):
            if sent == at:
                break
            yield step
            sent += isinstance(step, bytes)
        yield end

    return steps


def insert(behaviour: Behaviour, at: int, *extra: Step) -> Behaviour:
    """Return the behaviour with `extra` played once `at` steps of bytes are out.

    An event holds it, a number stalls it, `chunk(b":\\n\\n")` is a keep-alive comment,
    `chunk(b"data: {oops\\n\\n")` garbage inside good framing, `b"zz\\r\\n"` a bad chunk size.
    """

    def steps(request: Request) -> Iterator[Step]:
        sent, waiting = 0, extra
        for step in behaviour(request):
            if sent == at:
                yield from waiting
                waiting = ()
            yield step
            sent += isinstance(step, bytes)

    return steps


def dribble(behaviour: Behaviour, seconds: float, size: int = 1) -> Behaviour:
    """Return the behaviour with `size` bytes, headers too, every `seconds`: a slow loris."""

    def steps(request: Request) -> Iterator[Step]:
        for step in behaviour(request):
            if not isinstance(step, bytes):
                yield step
                continue
            for part in _cut_up(step, (size,)):
                yield part
                yield seconds

    return steps


def chunk(payload: bytes) -> bytes:
    """Return the payload in the framing of one HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def head(status: int, kind: str, *headers: str) -> bytes:
    """Return a status line and headers as llama-server sends them."""
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
    lines = (first, "Server: llama.cpp", f"Content-Type: {kind}", "Keep-Alive: timeout=5, max=100")
    return "\r\n".join((*lines, *headers, "", "")).encode()


@dataclass(frozen=True)
class _Ending:
    """What the last events of an answer say."""

    finish: str
    prompt: int
    cached: int
    completion: int

    def tail(self) -> dict[str, object]:
        fresh = self.prompt - self.cached
        return {
            "usage": {"completion_tokens": self.completion, "prompt_tokens": self.prompt}
            | {"total_tokens": self.prompt + self.completion}
            | {"prompt_tokens_details": {"cached_tokens": self.cached}},
            "timings": {"cache_n": self.cached, "prompt_n": fresh, "prompt_ms": 2.0}
            | {"predicted_n": self.completion, "predicted_ms": 2.5, "predicted_per_second": 400.0},
        }


def _cut_up(payload: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(payload):
            return
        yield payload[start : start + size]
        start += size


def _sse(event: Mapping[str, object]) -> bytes:
    return b"data: %b\n\n" % json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def _choice(finish: str | None, **said: object) -> dict[str, object]:
    return {"finish_reason": finish, "index": 0} | said


def _body(kind: str, choices: list[dict[str, object]], **rest: object) -> dict[str, object]:
    made = {"created": 1795385120, "model": "small-tier", "system_fingerprint": "b11434-unknown"}
    ident = "cmpl-" if kind == "text_completion" else "chatcmpl-"
    return {"choices": choices} | made | {"object": kind, "id": ident + "iCCGbzIMK97juM2P"} | rest


def _events(
    request: Request, pieces: Sequence[Piece], end: _Ending
) -> Iterator[Mapping[str, object]]:
    """Yield the chunks of a stream; legacy completions have their usage in the last one."""
    if not request.path.endswith("/chat/completions"):
        for piece in pieces:
            yield _body("text_completion", [_choice(None, text=piece)])
        yield _body("text_completion", [_choice(end.finish, text="")], **end.tail())
        return
    kind = "chat.completion.chunk"
    silent = {"role": "assistant", "content": None}
    if request.body.get("return_progress"):
        for batch in range(1, PROGRESS_BATCHES + 1):
            done = end.prompt * batch // PROGRESS_BATCHES
            progress = {"total": end.prompt, "cache": end.cached, "processed": done, "time_ms": 5}
            yield _body(kind, [_choice(None, delta=silent)], prompt_progress=progress)
    yield _body(kind, [_choice(None, delta=silent)])
    for piece in pieces:
        delta = {"content": piece} if isinstance(piece, str) else piece
        yield _body(kind, [_choice(None, delta=delta)])
    asked = (request.body.get("stream_options") or {}).get("include_usage")
    timings = {} if asked else {"timings": end.tail()["timings"]}
    yield _body(kind, [_choice(end.finish, delta={})], **timings)
    if asked:
        yield _body(kind, [], **end.tail())


def _whole(request: Request, pieces: Sequence[Piece], end: _Ending) -> Mapping[str, object]:
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    if request.path.endswith("/embeddings"):
        data = [{"embedding": [0.25, -0.5, 1.0], "index": 0, "object": "embedding"}]
        usage = {"prompt_tokens": end.prompt, "total_tokens": end.prompt}
        return {"model": request.body.get("model"), "object": "list", "usage": usage, "data": data}
    if not request.path.endswith("/chat/completions"):
        return _body("text_completion", [_choice(end.finish, text=text)], **end.tail())
    message = {"role": "assistant", "content": text}
    return _body("chat.completion", [_choice(end.finish, message=message)], **end.tail())
