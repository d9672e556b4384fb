"""Wires the operator: login, lease, watches, queue, audit, probes; and ends them in order."""

import asyncio
import random
import signal
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from tiergarten_operator import handlers, probes
from tiergarten_operator.cluster import Api, Audit, Cluster, Lease, Store, connect
from tiergarten_operator.cluster.audit import WATCHED
from tiergarten_operator.errors import LeaseLost, OperatorError
from tiergarten_operator.facts import Key, Kind
from tiergarten_operator.metrics import Metrics
from tiergarten_operator.reconcile import Reconciler
from tiergarten_operator.settings import Settings
from tiergarten_operator.watching import Watching
from tiergarten_operator.workqueue import Failure, WorkQueue

log = structlog.get_logger()

LEASE: Final = "tiergarten-operator"
STILL_SECONDS: Final = 60.0
"""A difference that the audit finds and that is older than this makes the process ill."""
LAG_SECONDS: Final = 5.0
"""Time between audits while there is a difference, so that one that passes is soon forgotten."""
SETTLE_SECONDS: Final = 0.2
"""Time from a list after a gap to its audit, in which the rest of the list comes in."""


@dataclass(frozen=True)
class Options:
    """What the command line says.

    Attributes:
        namespaces: Those that are served; empty for all.
        lease_namespace: Where the lease is; None: no other operator runs.
        dry_run: Whether writes are only tried.
        kubeconfig: A kubeconfig; None: the pod's account, or what KUBECONFIG names.
    """

    namespaces: tuple[str, ...] = ()
    lease_namespace: str | None = None
    dry_run: bool = False
    kubeconfig: Path | None = None


class Operator:
    """One operator.

    Args:
        server: Sends requests.
        options: What the command line says.
        settings: What the environment says.
        metrics: Where all is counted.
        wrote: Told of each write, after it.
    """

    def __init__(
        self,
        server: Api,
        options: Options,
        settings: Settings,
        metrics: Metrics,
        wrote: Callable[[str], None] | None = None,
    ) -> None:
        self.store, self.metrics = Store(), metrics
        self.queue: WorkQueue[Key] = WorkQueue(time.monotonic, jitter=_jitter)
        self.audit = Audit(server, self.store, options.namespaces)
        self.stop = asyncio.Event()
        self.synced = asyncio.Event()
        self.leads = options.lease_namespace is None
        self._server, self._options, self._settings = server, options, settings
        self._due: set[Kind] = set()
        self._audit_now = asyncio.Event()
        cluster = Cluster(
            server, self.store, dry_run=options.dry_run, wrote=wrote or self._count_write
        )
        self.reconciler = Reconciler(cluster, settings, metrics)
        sink = handlers.Sink(
            self.store, self.queue, metrics.last_event.set_to_current_time, self._relisted
        )
        self.watching = Watching(
            handlers.registry(sink, server.credentials, asyncio.get_running_loop()),
            partial(
                handlers.settings,
                clusterwide=not options.namespaces,
                request_seconds=settings.request_seconds,
            ),
            options.namespaces,
            time.monotonic,
            restarted=self._restarted,
        )

    async def run(self) -> None:
        """Work until told to stop.

        Raises:
            LeaseLost: Another operator leads; the process must end.
        """
        answers = probes.Answers(self._ill, self._unready, self._text)
        async with probes.serve(answers, self._settings.http_port) as port:
            log.info("operator_started", port=port, namespaces=self._options.namespaces or "all")
            if self._options.lease_namespace is None:
                await self._work()
                return
            async with self._leading(self._options.lease_namespace):
                await self._work()

    async def _work(self) -> None:
        self.leads = True
        self.metrics.is_leader.set(1)
        audits = asyncio.create_task(self._audits(), name="audits")
        workers = asyncio.create_task(
            self.queue.run(self.reconciler, self._settings.workers, self._failed), name="workers"
        )
        try:
            await self.watching.run(self.stop)
        finally:
            await _ended(workers, audits)

    @asynccontextmanager
    async def _leading(self, namespace: str) -> AsyncIterator[None]:
        """Run a block while we hold the lease; stop it when we lose it."""
        me = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        lease = Lease(self._server, namespace, LEASE, me, time.monotonic)
        waiting = asyncio.ensure_future(lease.acquire())
        stopped = asyncio.ensure_future(self.stop.wait())
        await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        await _ended(stopped)
        if self.stop.is_set():
            await _ended(waiting)
            yield
            return
        log.info("leading", identity=me)
        holding = asyncio.create_task(lease.hold(), name="lease")
        holding.add_done_callback(lambda _: self.stop.set())
        yield
        if holding.done():
            self.metrics.is_leader.set(0)
            await holding  # raises LeaseLost
        await _ended(holding)
        await lease.release()

    async def _audits(self) -> None:
        """Audit now and then, and soon after a watch had a gap; wake every tier that differs."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._audit_now.wait(), self._until_audit())
            await asyncio.sleep(SETTLE_SECONDS)
            self._audit_now.clear()
            kinds, self._due = tuple(self._due), set()
            await self._audit(kinds if self.synced.is_set() and kinds else WATCHED)

    def _until_audit(self) -> float:
        """Return when to audit next: soon while the watches come up, or lag behind."""
        if not self.synced.is_set():
            return SETTLE_SECONDS
        return LAG_SECONDS if self.audit.differing else self._settings.audit_seconds

    async def _audit(self, kinds: Sequence[Kind]) -> None:
        try:
            found = await self.audit.compare(kinds)
        except OperatorError as error:
            log.warning("audit_failed", reason=str(error))
            self._due |= set(kinds)
            return
        if self.watching.up.is_set() and not self.audit.differing:
            self.synced.set()
        for name, keys in found.items():
            self.metrics.audit_differences.labels(name).set(len(keys))
            for key in keys:
                self.queue.add(key)

    def _relisted(self, kind: Kind) -> None:
        self._due.add(kind)
        self._audit_now.set()

    def _restarted(self, reason: str) -> None:
        self.synced.clear()
        self._audit_now.set()
        self.metrics.watch_restarts.labels(reason).inc()

    def _count_write(self, what: str) -> None:
        self.metrics.writes.labels(what.split(maxsplit=1)[0]).inc()

    def _failed(self, key: Key, failure: Failure) -> None:
        """Log a reconcile that failed; it comes back."""
        known = isinstance(failure.error, OperatorError)
        write = log.warning if known else log.error
        write(
            "reconcile_failed",
            kind=key.kind,
            namespace=key.namespace,
            name=key.name,
            reason=str(failure.error) if known else type(failure.error).__name__,
            failures=failure.failures,
            again_seconds=round(failure.again_seconds, 1),
            exc_info=None if known else failure.error,
        )

    def _ill(self) -> str:
        now = time.monotonic()
        old = [name for name, it in self.audit.differing.items() if now - it > STILL_SECONDS]
        return f"what is known of {', '.join(sorted(old))} is not what is there" if old else ""

    def _unready(self) -> str:
        if not self.leads:
            return ""  # one that waits for the lease is as ready as it can be
        return "" if self.synced.is_set() else "the watches are not up"

    def _text(self) -> bytes:
        self.metrics.queue_depth.set(len(self.queue))
        return self.metrics.text()


async def run(options: Options, settings: Settings) -> int:
    """Run an operator until a signal ends it, and return the process's exit code."""
    metrics = Metrics(CollectorRegistry())
    async with connect(options.kubeconfig, settings.request_seconds, metrics.api_up.set) as server:
        operator = Operator(server, options, settings, metrics)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, operator.stop.set)
        try:
            await operator.run()
        except LeaseLost as error:
            log.error("lease_lost", reason=str(error))  # noqa: TRY400 -- expected; a traceback tells nothing
            return 1
    return 0


def _jitter() -> float:
    return random.uniform(0.8, 1.2)  # noqa: S311 -- spreads load, keeps no secret


async def _ended(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
