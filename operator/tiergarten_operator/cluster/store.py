"""What is known of the cluster: objects as the watches and our own writes showed them last.

An event that is older than what is known is dropped, so a write of ours is never unseen because a
watch lags behind it. No I/O.

An object is kept as JSON: as dictionaries, thousands of them take several times as much, and lie
scattered among what lists have needed for a moment, which then is never given back.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tiergarten_api import labels
from tiergarten_operator.facts import DEPLOYMENT, POD, TIER, Key, Kind, Manifest, Ref

Id = tuple[str, str, str]  # kind, namespace, name
UNKNOWN: Final = -1
REPLICAS: Final[Manifest] = {"f:spec": {"f:replicas": {}}}


@dataclass(frozen=True, slots=True)
class _Entry:
    """An object; uid and version are what is asked for most."""

    uid: str | None
    version: int
    text: bytes

    @property
    def manifest(self) -> Manifest:
        found: Manifest = json.loads(self.text)
        return found


class Store:
    """Objects by kind, namespace and name."""

    def __init__(self) -> None:
        self._objects: dict[Id, _Entry] = {}
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
            self._forget(ident, known.manifest)
        self._objects[ident] = _entry(kind, found)
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
        if known is None or (uid is not None and known.uid != uid):
            return
        self._forget(ident, known.manifest)
        del self._objects[ident]
        self._in_namespace[ident[:2]].discard(ident)

    def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return an object as it was seen last."""
        known = self._objects.get((kind.name, namespace, name))
        return known.manifest if known else None

    def all(self, kind: Kind, namespace: str) -> Iterator[Manifest]:
        """Yield the objects of a kind in a namespace."""
        for name in self.names(kind, namespace):
            yield self._objects[kind.name, namespace, name].manifest

    def names(self, kind: Kind, namespace: str) -> list[str]:
        """Return the names of a kind's objects in a namespace, in order."""
        return sorted(name for _, _, name in self._in_namespace[kind.name, namespace])

    def keys(self, kind: Kind) -> list[Key]:
        """Return what must be reconciled of one of our own kinds, in all namespaces."""
        return [
            Key(place, name, named) for named, place, name in self._objects if named == kind.name
        ]

    def tiers_of_model(self, namespace: str, model: str) -> Iterator[Manifest]:
        """Yield the tiers of a namespace that have a model name."""
        for ident in sorted(self._of_model.get((namespace, model), ())):
            yield self._objects[ident].manifest

    def children(self, key: Key) -> Iterator[tuple[Ref, Manifest]]:
        """Yield what belongs to a tier, but for its pods."""
        for kind, _, name in sorted(self._of_tier[key]):
            if kind not in (POD.name, TIER.name):
                yield Ref(kind, name), self._objects[kind, key.namespace, name].manifest

    def pods(self, key: Key) -> Iterator[Manifest]:
        """Yield the pods of a tier."""
        for ident in sorted(self._of_tier[key]):
            if ident[0] == POD.name:
                yield self._objects[ident].manifest

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
            (namespace, name): (str(it.uid), it.version)
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


def _is_newer(found: Manifest, known: _Entry) -> bool:
    """Return whether an object is another or a later one than what is known."""
    unknown = UNKNOWN in (version(found), known.version)
    # A made-again object; but what we know may be newer than an event of the one before.
    return unknown or version(found) > known.version


def _entry(kind: Kind, found: Manifest) -> _Entry:
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
    text = json.dumps({**found, "metadata": metadata}, separators=(",", ":"))
    return _Entry(metadata.get("uid"), version(found), text.encode())
