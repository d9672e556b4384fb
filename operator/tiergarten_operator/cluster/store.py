"""What is known of the cluster: objects as the watches and our own writes showed them last.

An event that is older than what is known is dropped, so a write of ours is never unseen because a
watch lags behind it. No I/O.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tiergarten_api import labels
from tiergarten_operator.facts import DEPLOYMENT, POD, TIER, Key, Kind, Manifest, Ref

Id = tuple[str, str, str]  # kind, namespace, name
UNKNOWN: Final = -1
REPLICAS: Final[Manifest] = {"f:spec": {"f:replicas": {}}}


class Store:
    """Objects by kind, namespace and name."""

    def __init__(self) -> None:
        self._objects: dict[Id, Manifest] = {}
        self._of_tier: defaultdict[Key, set[Id]] = defaultdict(set)
        self._of_model: defaultdict[tuple[str, str], set[Id]] = defaultdict(set)
        self._in_namespace: defaultdict[tuple[str, str], set[Id]] = defaultdict(set)

    def put(self, kind: Kind, found: Manifest) -> bool:
        """Remember an object, and return whether it is news."""
        metadata = found["metadata"]
        ident = (kind.name, metadata["namespace"], metadata["name"])
        known = self._objects.get(ident)
        if known is not None and not _is_newer(found, known):
            return False
        if known is not None:
            self._forget(ident, known)
        self._objects[ident] = _trimmed(kind, found)
        self._in_namespace[ident[:2]].add(ident)
        for key in self.keys_of(kind, found):
            self._of_tier[key].add(ident)
        if kind.name == TIER.name:
            self._of_model[ident[1], _model(found)].add(ident)
        return True

    def remove(self, kind: Kind, namespace: str, name: str, uid: str | None = None) -> None:
        """Forget an object; with a uid, only if it still is that one."""
        ident = (kind.name, namespace, name)
        known = self._objects.get(ident)
        if known is None or (uid is not None and known["metadata"].get("uid") != uid):
            return
        self._forget(ident, known)
        del self._objects[ident]
        self._in_namespace[ident[:2]].discard(ident)

    def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return an object as it was seen last."""
        return self._objects.get((kind.name, namespace, name))

    def all(self, kind: Kind, namespace: str | None = None) -> Iterator[Manifest]:
        """Yield the objects of a kind."""
        if namespace is not None:
            for ident in sorted(self._in_namespace[kind.name, namespace]):
                yield self._objects[ident]
            return
        yield from [it for ident, it in self._objects.items() if ident[0] == kind.name]

    def tiers_of_model(self, namespace: str, model: str) -> Iterator[Manifest]:
        """Yield the tiers of a namespace that have a model name."""
        for ident in sorted(self._of_model.get((namespace, model), ())):
            yield self._objects[ident]

    def children(self, key: Key) -> Iterator[tuple[Ref, Manifest]]:
        """Yield what belongs to a tier, but for its pods."""
        for kind, _, name in sorted(self._of_tier[key]):
            if kind not in (POD.name, TIER.name):
                yield Ref(kind, name), self._objects[kind, key.namespace, name]

    def pods(self, key: Key) -> Iterator[Manifest]:
        """Yield the pods of a tier."""
        for ident in sorted(self._of_tier[key]):
            if ident[0] == POD.name:
                yield self._objects[ident]

    def keys_of(self, kind: Kind, found: Manifest) -> Iterable[Key]:
        """Return what must be reconciled when an object changes."""
        metadata = found["metadata"]
        namespace = metadata["namespace"]
        if kind is TIER or kind.name == "TierRoute":
            return {Key(namespace, metadata["name"], kind.name)}
        names = {
            owner["name"]
            for owner in metadata.get("ownerReferences") or ()
            if owner["kind"] == TIER.name and owner["apiVersion"] == labels.API_VERSION
        }
        if labelled := (metadata.get("labels") or {}).get(labels.TIER):
            names.add(labelled)
        return {Key(namespace, name) for name in names}

    def versions(self, kind: Kind) -> dict[tuple[str, str], tuple[str, int]]:
        """Return uid and version of each object of a kind, by namespace and name."""
        return {
            (namespace, name): (str(it["metadata"].get("uid")), version(it))
            for (named, namespace, name), it in self._objects.items()
            if named == kind.name
        }

    def _forget(self, ident: Id, known: Manifest) -> None:
        if ident[0] == TIER.name:
            self._of_model[ident[1], _model(known)].discard(ident)
        for key in self.keys_of(Kind("", ident[0], ""), known):
            self._of_tier[key].discard(ident)
            if not self._of_tier[key]:
                del self._of_tier[key]


def _model(tier: Manifest) -> str:
    return str(tier.get("spec", {}).get("model", {}).get("name"))


def version(found: Manifest) -> int:
    """Return an object's version; -1 if it is not told, or is no number."""
    text = str(found["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdecimal() else UNKNOWN


def _is_newer(found: Manifest, known: Manifest) -> bool:
    """Return whether an object is another or a later one than what is known."""
    if found["metadata"].get("uid") != known["metadata"].get("uid"):
        # A made-again object; but what we know may be newer than an event of the one before.
        return version(found) > version(known) or UNKNOWN in (version(found), version(known))
    return UNKNOWN in (version(found), version(known)) or version(found) > version(known)


def _trimmed(kind: Kind, found: Manifest) -> Manifest:
    """Return an object without its managers, which are half of it.

    Of a Deployment those are kept that set its replicas, and of them no more than that.
    """
    metadata = dict(found["metadata"])
    managers = metadata.pop("managedFields", None) or ()
    if kind.name == DEPLOYMENT.name:
        metadata["managedFields"] = [
            {name: it.get(name) for name in ("manager", "operation")} | {"fieldsV1": REPLICAS}
            for it in managers
            if "f:replicas" in ((it.get("fieldsV1") or {}).get("f:spec") or {})
        ]
    trimmed: Manifest = _shared({**found, "metadata": metadata})
    return trimmed


def _shared(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """Return a value whose words are those of all others: more than half of what they take up."""
    if isinstance(value, dict):
        return {sys.intern(name): _shared(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shared(item) for item in value]
    return sys.intern(value) if type(value) is str else value
