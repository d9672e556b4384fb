"""The verbs by which a reconcile reads and changes the cluster.

Every write puts what the server returned into the store, so that the next reconcile sees it.
"""

import base64
import binascii
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from tiergarten_api import labels
from tiergarten_operator import drift
from tiergarten_operator.cluster import api
from tiergarten_operator.cluster.api import Api, Request
from tiergarten_operator.cluster.store import Store
from tiergarten_operator.errors import Conflict, NotThere
from tiergarten_operator.facts import KINDS, SECRET, Kind, Manifest, Ref

EVENTS: Final = Kind("events.k8s.io/v1", "Event", "events")
SHOWN: Final = 5
"""Fields that a dry run names of an object."""


class Cluster:
    """The cluster.

    Args:
        server: Sends requests.
        store: What is known.
        dry_run: Whether writes are only tried: the server checks and stores nothing.
        wrote: Told of each write that was sent, after it.
        check: Asked before each write; raises if we may no longer write.
    """

    def __init__(
        self,
        server: Api,
        store: Store,
        *,
        dry_run: bool = False,
        wrote: Callable[[str], None] = lambda _: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self._server, self._dry_run, self._wrote, self._check = server, dry_run, wrote, check

    async def apply(
        self, manifest: Manifest, *, manager: str = labels.OPERATOR, subresource: str = ""
    ) -> Manifest:
        """Apply a manifest on the server, and return the object that it gave.

        Fields of other managers stay as they are; a field that is in the manifest is taken over.

        Raises:
            ApiError: The server refuses it.
            Unreachable: It did not answer.
        """
        kind = KINDS[manifest["kind"]]
        metadata = manifest["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        part = f"/{subresource}" if subresource else ""
        where = api.path(kind, namespace, name, subresource)
        query = {"fieldManager": manager, "force": "true"}
        what = f"apply {kind.name}{part} {namespace}/{name}"
        if self._dry_run:
            what += self._changes(kind, manifest)
        try:
            found = await self._write(Request(what, "PATCH", where, query, manifest, api.APPLY))
        except Conflict:
            if not self._dry_run:
                raise
            return manifest  # it builds on a write that was only tried
        self._put(kind, found)
        return found

    async def merge(self, kind: Kind, namespace: str, name: str, change: Mapping[str, Any]) -> None:
        """Merge a change into an object.

        Raises:
            ApiError: The server refuses it.
            Unreachable: It did not answer.
        """
        where = api.path(kind, namespace, name)
        query = {"fieldManager": labels.OPERATOR}
        what = f"change {kind.name} {namespace}/{name}"
        found = await self._write(Request(what, "PATCH", where, query, change, api.MERGE))
        self._put(kind, found)

    async def delete(self, child: Ref, namespace: str, uid: str) -> None:
        """Delete an object and what it owns, if it still is the one with the uid.

        Raises:
            ApiError: The server refuses it; that it is gone already is no error.
            Unreachable: It did not answer.
        """
        kind = KINDS[child.kind]
        # Without a policy the API server would leave a Job's pods behind.
        body: Manifest = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        if self._dry_run:  # a DELETE with a body has its options there alone
            body["dryRun"] = ["All"]
        where = api.path(kind, namespace, child.name)
        with contextlib.suppress(NotThere, Conflict):  # gone, or another one by now
            what = f"delete {kind.name} {namespace}/{child.name}"
            await self._write(Request(what, "DELETE", where, {}, body))
        if not self._dry_run:
            self.store.remove(kind, namespace, child.name, uid)

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """Return an object as it is now, or None if there is none.

        Raises:
            ApiError: The server refuses to tell.
            Unreachable: It did not answer.
        """
        where = api.path(kind, namespace, name)
        try:
            what = f"get {kind.name} {namespace}/{name}"
            return await self._server.send(Request(what, "GET", where))
        except NotThere:
            return None

    async def secret_keys(self, namespace: str, name: str) -> frozenset[str] | None:
        """Return the keys of a Secret that hold something, or None if there is no such Secret."""
        found = await self.get(SECRET, namespace, name)
        if found is None:
            return None
        return frozenset(key for key, value in (found.get("data") or {}).items() if _holds(value))

    async def report(self, event: Manifest) -> None:
        """Post an event; one of the same name is there already if it was posted before."""
        metadata = event["metadata"]
        where = api.path(EVENTS, metadata["namespace"])
        query = {"fieldManager": labels.OPERATOR}
        try:
            await self._write(Request("post an event", "POST", where, query, event))
        except Conflict:
            return

    async def _write(self, request: Request) -> Manifest:
        self._check()
        if self._dry_run:
            request = replace(request, query={**(request.query or {}), "dryRun": "All"})
        found = await self._server.send(request)
        self._wrote(request.what)
        return found

    def _changes(self, kind: Kind, manifest: Manifest) -> str:
        """Return where an object is not as it is to be, for people."""
        metadata = manifest["metadata"]
        known = self.store.get(kind, metadata["namespace"], metadata["name"])
        if known is None:
            return " (new)"
        paths = list(drift.differences(manifest, known))
        more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
        return f" ({', '.join(paths[:SHOWN])}{more})"

    def _put(self, kind: Kind, found: Manifest) -> None:
        if not self._dry_run:
            self.store.put(kind, found)


def _holds(value: str) -> bool:
    try:
        return bool(base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        return False
