"""Events on their way to many subscribers: filtered, framed and joined once for each group."""

from collections.abc import Sequence

from tiergarten_router.events import messages
from tiergarten_router.events.log import Position
from tiergarten_router.events.subscribers import Chunk, Filter, Head, Shape, Subscriber, head_of


class Batch:
    """Events that go out together, in every shape and selection that is asked for, each made once.

    Args:
        payloads: The events' JSON.
        epoch: Their epoch; empty where they have no place.
        first: Sequence of the first.
    """

    def __init__(self, payloads: Sequence[bytes], epoch: str = "", first: int = 0) -> None:
        self._payloads = payloads
        self._epoch = epoch
        self._first = first
        self._messages: dict[Shape, list[bytes]] = {}
        self._heads: list[Head] = []
        self._chunks: dict[tuple[Shape, Filter], Chunk | None] = {}

    def chunk(self, key: tuple[Shape, Filter]) -> Chunk | None:
        """Return what a group gets, None if it wants none of it."""
        if key not in self._chunks:
            shape, wanted = key
            self._chunks[key] = self._made(shape, self._selected(wanted))
        return self._chunks[key]

    def rest(self, subscriber: Subscriber) -> Chunk | None:
        """Return what one gets that has been served a part of it already."""
        chosen = self._selected(subscriber.wanted)
        left = [index for index in chosen if self._first + index > subscriber.after]
        return self._made(subscriber.shape, left)

    def _selected(self, wanted: Filter) -> Sequence[int]:
        indexes = range(len(self._payloads))
        if wanted == Filter():
            return indexes
        if not self._heads:
            self._heads = [head_of(payload) for payload in self._payloads]
        return [index for index in indexes if wanted.wants(self._heads[index])]

    def _made(self, shape: Shape, indexes: Sequence[int]) -> Chunk | None:
        if not indexes:
            return None
        messages = self._messages.get(shape)
        if messages is None:
            messages = self._messages[shape] = self._shaped(shape)
        data = b"".join([messages[index] for index in indexes])
        if not self._epoch:
            return Chunk(data, len(indexes))
        return Chunk(data, len(indexes), self._first + indexes[0], self._first + indexes[-1])

    def _shaped(self, shape: Shape) -> list[bytes]:
        if not self._epoch:
            return [shape(messages.unplaced(payload), None) for payload in self._payloads]
        epoch = self._epoch
        return [
            shape(messages.placed(epoch, seq, payload), Position(epoch, seq))
            for seq, payload in enumerate(self._payloads, self._first)
        ]
