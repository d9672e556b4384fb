"""What a streamed answer says: bytes in, events out, each checked before it is passed on.

Pure. An endpoint sends each event in a chunk of its own, so a part of a body nearly always is one
event; whatever comes otherwise is put together first. An event that does not parse raises, and
those before it are kept.
"""

from typing import Final

import msgspec

from tiergarten_router import wire
from tiergarten_router.core.assembly import Assembly
from tiergarten_router.errors import AttemptFailed, Refused, StreamBroken
from tiergarten_router.upstream import pattern, refusal, sse
from tiergarten_router.upstream.pattern import Pattern

DONE: Final = b"[DONE]"
NOTHING: Final = b"data: null\n\n"  # llama-server begins an answer to several prompts with it
END: Final = b"\n\n"
_GARBAGE: Final = (sse.SSEError, msgspec.DecodeError, UnicodeDecodeError, RecursionError)


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
        "_assembly", "_cut", "_pattern", "_splitter", "ahead", "done", "has_content", "timings",
        "usage",
    )  # fmt: skip

    def __init__(self, assembly: Assembly | None = None) -> None:
        self.ahead: list[Event] = []
        self.usage: wire.Usage | None = None
        self.timings: wire.Timings | None = None
        self.has_content = False
        self.done = False
        self._assembly = assembly
        self._cut = False  # an event began and did not end
        self._pattern: Pattern | None = None
        self._splitter = sse.Splitter()

    def take(self, parts: list[bytes]) -> None:
        """Take the next parts of the body.

        Raises:
            RouterError: If they are not what belongs into a stream of events, or are an error.
        """
        if self._assembly is not None:
            self._assembly.parts += parts
        index = 0
        try:
            while index < len(parts):
                known = self._pattern
                if known is not None and not (self._cut or self.done):
                    pieces = known.pieces(parts, index)
                    if pieces:
                        self._alike(known, parts[index : index + len(pieces)], pieces)
                        index += len(pieces)
                        continue
                self._part(parts[index])
                index += 1
        except _GARBAGE as error:
            raise StreamBroken("The endpoint sent no valid events.") from error

    def _part(self, part: bytes) -> None:
        if not self._cut and part.endswith(END) and part.find(b"\n") == len(part) - len(END):
            self._event(part, sse.data(part))  # nearly always: an event in its own chunk
            return
        for raw in self._splitter.feed(part):
            self._event(raw, sse.data(raw))
        self._cut = bool(self._splitter)

    def _alike(self, known: Pattern, raws: list[bytes], pieces: list[bytes]) -> None:
        """Take events that fit the pattern, or each for itself if one of them is not just text.

        What fits may also be two events in one part.
        """
        text = known.text(pieces)
        if text is None:
            for raw in raws:
                self._part(raw)
            return
        if text:
            self.has_content = True
        chunk = known.chunk(text)
        if self._assembly is None:
            self.ahead.append(Event(raws[0] if len(raws) == 1 else b"".join(raws), chunk))
        else:
            self._assembly.add(chunk)

    def _event(self, raw: bytes, payload: bytes | None) -> None:
        if self.done:
            raise StreamBroken("The endpoint sent an event after the end of its answer.")
        if payload is None or payload == DONE:
            self.done = payload is not None
            if self._assembly is None:
                self.ahead.append(Event(raw, None))
            return
        if raw == NOTHING:
            return
        if not payload.isascii():
            payload.decode()  # the decoder looks into known fields only
        chunk = wire.decode_chunk(payload)
        if chunk.error is not None:
            raise _failed(chunk.error, began=self.has_content)
        self._note(raw, chunk)
        if self._assembly is None:
            self.ahead.append(Event(raw, chunk))
        else:
            self._assembly.add(chunk)

    def _note(self, raw: bytes, chunk: wire.Chunk) -> None:
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.timings is not None:
            self.timings = chunk.timings
        for choice in chunk.choices:
            if choice.finish_reason:
                self.has_content = True
            elif choice.text or _adds(choice.delta):
                self.has_content = True
                self._pattern = pattern.learn(raw, chunk) or self._pattern


def _adds(delta: wire.Delta | None) -> bool:
    return delta is not None and bool(delta.content or delta.reasoning_content or delta.tool_calls)


def _failed(error: wire.UpstreamError, *, began: bool) -> AttemptFailed:
    """Return what an error inside a stream says; after content nothing is merely "not ready"."""
    code = error.code if isinstance(error.code, int) else 500
    failed = refusal.of_error(error, code, None)
    broken = not failed.breaks and not isinstance(failed, Refused) and began
    return StreamBroken(failed.message) if broken or type(failed) is AttemptFailed else failed
