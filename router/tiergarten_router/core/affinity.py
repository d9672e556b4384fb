"""Which replica most likely holds the beginning of a conversation in its prompt cache.

Finding it is worth 45 to 85 times the wait for the first token. A ring says where a conversation
belongs: the same on every replica of the router, and hardly changed when an endpoint comes or goes.
`Homes` remembers where it was in truth answered last, when that was elsewhere because the slots
were full; llama-server's own `cache_n` shows whether it is still held there.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterator
from math import ceil
from typing import Final
from zlib import crc32

from msgspec import Struct

from tiergarten_router import wire
from tiergarten_router.core.query import Query

CIRCLE: Final = (1 << 64) - 1  # where keys and endpoints lie,
GOLDEN: Final = 0x9E3779B97F4A7C15  # spread by 2^64 over the golden ratio
LEAST_CHARACTERS: Final = 512  # a shorter new prompt is read faster than a busy slot comes free
BEGINNING: Final = 16_384  # characters of a message that count
LOAD_FACTOR: Final = 1.25  # of the average: where a new conversation is still placed
NEIGHBOURS: Final = 8  # looked at along the ring
LOOKED_AT: Final = 32  # points of the ring for that, as neighbouring ones may be of one endpoint
POINTS: Final = 8_192  # of a ring, shared out among its endpoints,
POINTS_MOST, POINTS_LEAST = 128, 2  # within these bounds for each


class Claim(Struct, frozen=True):
    """What a query's place in the queue and its endpoint are chosen by.

    Attributes:
        prefix: Tells conversations apart, 0 for what is none.
        sticky: Whether so much may be held for it that it is worth looking for.
        caller: Tells callers apart.
        background: Whether a chat UI asks for itself.
        begun: Whether the conversation has an answer already.
    """

    prefix: int = 0
    sticky: bool = False
    caller: int = 0
    background: bool = False
    begun: bool = False


ANYBODY: Final = Claim()


def claim(query: Query, conversation: bytes | None = None, caller: int = 0) -> Claim:
    """Return the claim of a query.

    Args:
        query: It.
        conversation: The client's own name of the conversation, if it gives one.
        caller: Tells callers apart.
    """
    body = query.body
    if isinstance(body, wire.EmbeddingsBody):
        return Claim(caller=caller)
    begun = False
    if isinstance(body, wire.ChatBody):
        messages = body.messages
        begun = len(messages) > 1 and any(said.role == "assistant" for said in messages)
    if conversation:
        prefix = _digest(conversation)
    elif isinstance(body, wire.ChatBody):
        prefix = _digest(_beginning(body.messages))
    else:
        prefix = _digest(query.text[:BEGINNING].encode(errors="replace"))
    sticky = begun or bool(conversation) or query.characters >= LEAST_CHARACTERS
    return Claim(prefix, sticky, caller, query.background, begun)


def held(timings: wire.Timings) -> bool:
    """Return whether an endpoint had most of a prompt in its cache, by its own measurements."""
    return 2 * timings.cache_n >= timings.cache_n + timings.prompt_n


def bound(slots: int, share: float, average: float, *, known: bool) -> float:
    """Return how many queries an endpoint may have with one for the sake of its prompt cache.

    One that is known to hold the conversation may have as many as it has slots: nothing is worth
    reading the prompt anew for. One that shall hold it from now on may have little more than the
    average, or new conversations would pile up on it.

    Args:
        slots: Its parallel sequences.
        share: The part of them that it gets just now; a healed one's cache is cold.
        average: Queries in flight for each replica of the tier, the new one included.
        known: Whether it is known to hold the conversation.
    """
    return (slots if known else max(1, ceil(LOAD_FACTOR * average))) * share


class Ring:
    """Consistent hashing over the endpoints of a tier: an endpoint has some points of a circle.

    Args:
        ids: The endpoints' ids.
    """

    def __init__(self, ids: Collection[str]) -> None:
        each = min(POINTS_MOST, max(POINTS_LEAST, POINTS // max(1, len(ids))))
        points = sorted((_digest(b"%d %b" % (n, i.encode())), i) for i in ids for n in range(each))
        self._points = [point for point, _ in points]
        self._ids = [ident for _, ident in points]

    def near(self, key: int, limit: int = NEIGHBOURS) -> Iterator[str]:
        """Yield the endpoints that a key belongs to, the first being its own, each once."""
        seen = set()
        begin = bisect_right(self._points, key)
        for ident in (*self._ids[begin : begin + LOOKED_AT], *self._ids[:LOOKED_AT]):
            if ident not in seen:
                seen.add(ident)
                yield ident
            if len(seen) == limit:
                return


class Homes:
    """Where conversations were answered last; the oldest are forgotten.

    Args:
        limit: Most conversations that are remembered, at least 0.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._homes: OrderedDict[tuple[str, int], str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._homes)

    def find(self, tier: str, prefix: int) -> str | None:
        """Return the id of the endpoint that answered a conversation, None if it is not known."""
        return self._homes.get((tier, prefix))

    def put(self, tier: str, prefix: int, ident: str) -> None:
        """Remember it."""
        key = (tier, prefix)
        self._homes[key] = ident
        self._homes.move_to_end(key)
        if len(self._homes) > self._limit:
            self._homes.popitem(last=False)


def _beginning(messages: list[wire.Message]) -> bytes:
    """Return what all turns of a conversation share: system prompt and first user message."""
    parts = []
    for message in messages:
        content = message.content
        if isinstance(content, list):
            texts = [part.text for part in content if isinstance(part, wire.TextPart)]
            content = "\n".join(texts)
        parts.append((content or "")[:BEGINNING])
        if message.role == "user":
            break
    return "\0".join(parts).encode(errors="replace")


def _digest(text: bytes) -> int:
    """Return 64 bits that are the same in every process; two texts in 4 billion share theirs."""
    return crc32(text) * GOLDEN & CIRCLE
