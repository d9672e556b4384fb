"""The objects of one kind as they are known: the last good version of each, and what is wrong.

`reflector` fills a table, `source` makes snapshots of all three.
"""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import structlog

from tiergarten_router.sources.kube.objects import Key
from tiergarten_router.sources.kube.reading import Unreadable

log = structlog.get_logger()
_Item = TypeVar("_Item")


class Table(Generic[_Item]):
    """The objects of one kind.

    Args:
        kind: Their kind, for people: `ModelTier`.
        changed: Told when anything is new; must not wait.

    Attributes:
        good: The last version of each object that could be read.
        problems: Why the newest version of an object could not be read.
    """

    def __init__(self, kind: str, changed: Callable[[], None]) -> None:
        self.kind = kind
        self.good: dict[Key, _Item] = {}
        self.problems: dict[Key, str] = {}
        self._changed = changed

    def put(self, key: Key, found: _Item | Unreadable) -> None:
        """Take an object over; of one that cannot be read the last good version stays."""
        if isinstance(found, Unreadable):
            self._complain(key, str(found))
        else:
            self.good[key] = found
            self.problems.pop(key, None)
        self._changed()

    def drop(self, key: Key) -> None:
        """Forget an object that is gone."""
        self.good.pop(key, None)
        self.problems.pop(key, None)
        self._changed()

    def replace(self, namespace: str | None, found: Mapping[Key, _Item | Unreadable]) -> None:
        """Take a whole list over.

        Args:
            namespace: Where it was listed; None: everywhere.
            found: All that is there.
        """
        for key in self.good.keys() | self.problems.keys():
            if key not in found and namespace in {None, key[0]}:
                self.drop(key)
        for key, item in found.items():
            self.put(key, item)
        self._changed()

    def told(self, key: Key) -> str:
        """Return what is wrong with an object, as people are told."""
        namespace, name = key
        effect = "its last good version stays in force" if key in self.good else "it is not served"
        return f"{self.kind} {namespace}/{name}: {self.problems[key]} ({effect})"

    def _complain(self, key: Key, problem: str) -> None:
        if self.problems.get(key) == problem:
            return
        self.problems[key] = problem
        namespace, name = key
        log.error("object_refused", kind=self.kind, namespace=namespace, name=name,
                  problem=problem, last_good=key in self.good)  # fmt: skip
