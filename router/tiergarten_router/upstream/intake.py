"""What a streamed answer says: bytes in, events out, each checked before it is passed on.

Pure. An endpoint sends each event in a chunk of its own, so a part of a body nearly always is one
event; whatever comes otherwise is put together first. An event that does not parse raises, and
those before it are kept.
"""

from typing import Final

import msgspec

from tiergarten_router import wire
from tiergarten_router.core.assembly import Assembly
from tiergarten_router.errors import AttemptFailed, StreamBroken
from tiergarten_router.upstream import pattern, refusal, sse
from tiergarten_router.upstream.pattern import Pattern

DONE: Final = b"[DONE]"
NOTHING: Final = b"data: null\n\n"  # llama-server begins an answer to several prompts with it
FIELD: Final = b"data: "


class Event(msgspec.Struct, frozen=True):
    """An event of a stream: its bytes, and what they say; None for `[DONE]` and comments.

    Neighbours that came together and differ in their text alone are one event here, which says
    all of it.
    """

    raw: bytes
    chunk: wire.Chunk | None


class Intake:
    """The events of one answer.

    Args:
        assembly: Takes the events in, if the answer is wanted whole; else they are kept in `ahead`.

    Attributes:
        ahead: Events that nobody has taken yet.
        usage: Tokens, once the endpoint has told them.
        timings: llama-server's measurements, once told.
        has_content: Whether there was generated output, or a word why there is none.
        done: Whether the end of the answer was there.
    """

    __slots__ = (
        "_assembly", "_pattern", "_splitter", "ahead", "done", "has_content", "timings", "usage",
    )  # fmt: skip

    def __init__(self, assembly: Assembly | None = None) -> None:
        self.ahead: list[Event] = []
        self.usage: wire.Usage | None = None
        self.timings: wire.Timings | None = None
        self.has_content = False
        self.done = False
        self._assembly = assembly
        self._pattern: Pattern | None = None
        self._splitter = sse.Splitter()

    def take(self, parts: list[bytes]) -> None:
        """Take the next parts of the body.

        Raises:
            RouterError: If they are not what belongs into a stream of events, or are an error.
        """
        index = 0
        try:
            while index < len(parts):
                known, end = self._pattern, index
                if known is not None and self._splitter.is_empty and not self.done:
                    end = known.run(parts, index)
                if known is None or end == index:
                    self._part(parts[index])
                    index += 1
                else:
                    self._alike(known, parts[index:end] if len(parts) > 1 else parts)
                    index = end
        except sse.SSEError as error:
            raise StreamBroken(f"The endpoint sent no valid events: {error}") from error

    def _part(self, part: bytes) -> None:
        if self._splitter.is_empty and _is_plain(part):
            self._event(part, part[len(FIELD) : -2])
            return
        for raw in self._splitter.feed(part):
            self._event(raw, sse.data(raw))

    def _alike(self, known: Pattern, raws: list[bytes]) -> None:
        """Take events that fit the pattern, or each for itself if one of them is not just text."""
        text = known.text(raws)
        if text is None:
            for raw in raws:
                self._event(raw, sse.data(raw))
            return
        if text:
            self.has_content = True
        self._keep(raws[0] if len(raws) == 1 else b"".join(raws), known.chunk(text))

    def _event(self, raw: bytes, payload: bytes | None) -> None:
        if self.done:
            raise StreamBroken("The endpoint sent an event after the end of its answer.")
        if payload is None or payload == DONE:
            self.done = payload is not None
            self._keep(raw, None)
        elif raw != NOTHING:
            self._chunk(raw, _decoded(payload))

    def _chunk(self, raw: bytes, chunk: wire.Chunk) -> None:
        if chunk.error is not None:
            raise _failed(chunk.error)
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.timings is not None:
            self.timings = chunk.timings
        if not self.has_content:
            self.has_content = any(map(_says, chunk.choices))
        self._pattern = pattern.learn(raw, chunk) or self._pattern
        self._keep(raw, chunk)

    def _keep(self, raw: bytes, chunk: wire.Chunk | None) -> None:
        if self._assembly is None:
            self.ahead.append(Event(raw, chunk))
        elif chunk is not None:
            self._assembly.add(chunk)


def _is_plain(part: bytes) -> bool:
    """Return whether a part is one whole event of one line, as nearly all are."""
    size = len(part)
    return part.startswith(FIELD) and part.find(b"\n") == size - 2 and part.find(b"\r") < 0


def _decoded(payload: bytes) -> wire.Chunk:
    try:
        if not payload.isascii():
            payload.decode()  # the decoder looks into known fields only
        return wire.decode_chunk(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StreamBroken("The endpoint sent an event that is not valid.") from error


def _says(choice: wire.Choice) -> bool:
    delta = choice.delta
    if choice.finish_reason or choice.text:
        return True
    return delta is not None and bool(delta.content or delta.reasoning_content or delta.tool_calls)


def _failed(error: wire.UpstreamError) -> AttemptFailed:
    code = error.code if isinstance(error.code, int) else 500
    failed = refusal.of_error(error, code, None)
    return failed if type(failed) is not AttemptFailed else StreamBroken(failed.message)
