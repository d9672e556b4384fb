"""Entries in this process: the least recently used ones go when there are too many bytes."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from tiergarten_router.cache.entry import Entry

OVERHEAD_BYTES: Final = 1024  # of an entry's objects beside its events
SHARE: Final = 8  # no entry takes more than this part of the memory


@dataclass(slots=True)
class Kept:
    """An entry and its age.

    Attributes:
        entry: The entry.
        stored_at: When it was stored, in clock time.
        until: When its time is over, in clock time.
        made: What was made of it for clients, by the name of the form.
    """

    entry: Entry
    stored_at: float
    until: float
    made: dict[str, bytes] = field(default_factory=dict)

    def age(self, now: float) -> int:
        """Return its age in whole seconds."""
        return max(0, int(now - self.stored_at))


class Memory:
    """A bounded number of bytes of entries; times are those of one clock that never jumps.

    Args:
        most_bytes: How many; 0 keeps nothing.

    Attributes:
        held_bytes: How many there are: each entry's events twice, since what is made of them for
            clients is kept too, and something for its objects.
    """

    def __init__(self, most_bytes: int) -> None:
        self.held_bytes = 0
        self._most = most_bytes
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes, now: float) -> Kept | None:
        """Return the entry of a key, None when there is none whose time is not over."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        if now >= kept.until:
            self.drop(key)
            return None
        self._kept.move_to_end(key)
        return kept

    def put(self, key: bytes, kept: Kept) -> None:
        """Keep an entry, in place of others if need be; one that is too large is not kept."""
        self.drop(key)
        size = _size(kept.entry)
        if size > self._most // SHARE:
            return
        self._kept[key] = kept
        self.held_bytes += size
        while self.held_bytes > self._most:
            _, oldest = self._kept.popitem(last=False)
            self.held_bytes -= _size(oldest.entry)

    def drop(self, key: bytes) -> None:
        """Forget a key."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.held_bytes -= _size(kept.entry)


def _size(entry: Entry) -> int:
    return OVERHEAD_BYTES + 2 * entry.size
