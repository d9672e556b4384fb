"""What kopf calls: every event of a watched object becomes keys in the queue, and nothing else.

kopf calls from a thread of its own; what it saw is handed over to the operator's loop, in order.

Low-level event handlers only, and no indexes: while kopf fills those, each object of a list wakes
all the others, which takes minutes with thousands. That the first reconcile knows all that is there
is seen to by the audit. Nothing of kopf goes further.
"""

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import kopf

from tiergarten_api import labels
from tiergarten_operator.cluster import Credentials, Store
from tiergarten_operator.cluster.audit import OWN, WATCHED
from tiergarten_operator.facts import ROUTE, TIER, Key, Kind, Manifest
from tiergarten_operator.workqueue import WorkQueue

DELETED: Final = "DELETED"
LOGIN_SECONDS: Final = 2.0
RELIST_SECONDS: Final = 1.0
"""Wait before a kind is listed again; kopf's own tenth of a second would be a storm under 410s."""


class Patience:
    """Waits between kopf's tries of one request: seconds, without an end and with jitter.

    kopf ends when they end, and an API server may be away for hours.
    """

    def __iter__(self) -> Iterator[float]:
        """Yield half a second, and up to eight, each times 0.5 to 1."""
        for seconds in itertools.chain((0.5, 1.0, 2.0, 4.0), itertools.repeat(8.0)):
            yield seconds * random.uniform(0.5, 1.0)  # noqa: S311 -- spreads load, keeps no secret


@dataclass
class Sink:
    """Takes what the watches see.

    Attributes:
        store: What is known.
        queue: What must be reconciled.
        heard: Told of each event.
        relisted: Told that a watch listed again: what went in the gap was not told.
    """

    store: Store
    queue: WorkQueue[Key]
    heard: Callable[[], None]
    relisted: Callable[[], None]

    def take(self, kind: Kind, event: str | None, found: Manifest) -> None:
        """Take an event.

        Args:
            kind: The object's kind.
            event: ADDED, MODIFIED or DELETED; None for an object of a list.
            found: The object.
        """
        self.heard()
        metadata = found["metadata"]
        if event == DELETED:
            known = self.store.get(kind, metadata["namespace"], metadata["name"])
            self.store.remove(kind, metadata["namespace"], metadata["name"], metadata["uid"])
            self._wake(kind, known or found)
            return
        if event is None:
            self.relisted()
        if self.store.put(kind, found) or event is None:
            self._wake(kind, found)  # else it is the echo of a write of ours

    def _wake(self, kind: Kind, found: Manifest) -> None:
        for key in self.store.keys_of(kind, found):
            self.queue.add(key)
        if kind is TIER:  # routes say which of their tiers are there
            for route in self.store.all(ROUTE, found["metadata"]["namespace"]):
                if _names(route, found["metadata"]["name"]):
                    self.queue.add(
                        Key(found["metadata"]["namespace"], route["metadata"]["name"], ROUTE.name)
                    )


def registry(
    sink: Sink,
    login: Callable[[], Coroutine[Any, Any, Credentials]],
    home: asyncio.AbstractEventLoop,
    kinds: Sequence[Kind] = WATCHED,
) -> kopf.OperatorRegistry:
    """Return what kopf watches and calls.

    Args:
        sink: Where events go.
        login: Returns credentials, when awaited.
        home: The loop that sink and login belong to.
        kinds: What is watched.
    """
    found = kopf.OperatorRegistry()

    # A login that fails for good would leave kopf hanging, so it is tried again for ever.
    @kopf.on.login(registry=found, backoff=LOGIN_SECONDS)
    async def log_in(**_: object) -> kopf.ConnectionInfo:
        asked = asyncio.run_coroutine_threadsafe(login(), home)
        credentials = await asyncio.wrap_future(asked)
        return kopf.ConnectionInfo(
            server=credentials.server,
            ca_path=credentials.ca_path,
            certificate_path=credentials.certificate_path,
            private_key_path=credentials.private_key_path,
            token=credentials.token,
            insecure=credentials.insecure,
        )

    for kind in kinds:
        _watch(found, sink, kind, home)
    return found


def settings(
    kinds: Sequence[Kind] = WATCHED, *, request_seconds: float, silence_seconds: float
) -> kopf.OperatorSettings:
    """Return how kopf is to behave: only to watch, and to write nothing of its own.

    Args:
        kinds: What is watched.
        request_seconds: Longest wait for one answer.
        silence_seconds: A watch that shows nothing for so long is begun anew.
    """
    found = kopf.OperatorSettings()
    found.peering.standalone = True
    found.posting.enabled = False
    found.scanning.disabled = True  # else it lists namespaces and definitions
    found.networking.request_timeout = request_seconds
    found.networking.error_backoffs = Patience()
    # Our handlers only fill a queue. With a limit, or a wait for an object's next event, a start
    # with thousands of objects takes minutes: each holds its place until the wait is over.
    found.queueing.worker_limit = None
    found.queueing.idle_timeout = 0.1
    found.queueing.exit_timeout = 0.5
    found.watching.chunk_size = 500
    found.watching.inactivity_timeout = silence_seconds
    found.watching.reconnect_backoff = RELIST_SECONDS
    found.process.ultimate_exiting_timeout = None  # we end the process ourselves
    for kind in kinds:
        if kind not in OWN:
            selector = f"{labels.MANAGED_BY}={labels.OPERATOR}"
            found.watching.label_selectors[_place(kind)] = selector
    return found


def _watch(
    found: kopf.OperatorRegistry, sink: Sink, kind: Kind, home: asyncio.AbstractEventLoop
) -> None:
    group, version, plural = _place(kind)

    @kopf.on.event(group, version, plural, id=f"see-{plural}", registry=found)
    async def seen(event: Any, **_: object) -> None:  # noqa: ANN401 -- kopf's raw event
        home.call_soon_threadsafe(sink.take, kind, event["type"], dict(event["object"]))


def _place(kind: Kind) -> tuple[str, str, str]:
    group, _, version = kind.api_version.rpartition("/")
    return group, version, kind.plural


def _names(route: Manifest, tier: str) -> bool:
    return any(it.get("name") == tier for it in route.get("spec", {}).get("tiers") or ())
