"""Wires the operator: login, lease, watches, queue, audit, probes; and ends them in order."""

import asyncio
import random
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from tiergarten_operator import handlers, probes
from tiergarten_operator.cluster import Api, Audit, Cluster, Lease, Store, connect
from tiergarten_operator.cluster.audit import OWN
from tiergarten_operator.errors import LeaseLost, OperatorError
from tiergarten_operator.facts import Key
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
        dry_run: Whether to say what would be written, and to end.
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
        self.leads = False
        self.lease = None
        if options.lease_namespace is not None:
            me = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
            self.lease = Lease(server, options.lease_namespace, LEASE, me, time.monotonic)
        self._options, self._settings = options, settings
        self._audit_now = asyncio.Event()
        self._audited = True
        self._hindrance = ""
        cluster = Cluster(
            server,
            self.store,
            dry_run=options.dry_run,
            wrote=wrote or self._count_write,
            check=self.lease.check if self.lease is not None else lambda: None,
        )
        self.reconciler = Reconciler(cluster, settings, metrics)
        sink = handlers.Sink(
            self.store, self.queue, metrics.last_event.set_to_current_time, self._audit_now.set
        )
        self.watching = Watching(
            handlers.registry(sink, server.credentials, asyncio.get_running_loop()),
            partial(
                handlers.settings,
                request_seconds=settings.request_seconds,
                silence_seconds=settings.silence_seconds,
            ),
            options.namespaces,
            time.monotonic,
            self._ask_hindrance,
            restarted=self._restarted,
            jitter=_jitter,
        )

    async def run(self) -> None:
        """Work until told to stop.

        Raises:
            LeaseLost: Another operator leads; the process must end.
        """
        answers = probes.Answers(self._ill, self._unready, self._text)
        async with probes.serve(answers, self._settings.http_port) as port:
            log.info("operator_started", port=port, namespaces=self._options.namespaces or "all")
            await (self._work() if self.lease is None else self._lead(self.lease))

    async def _work(self) -> None:
        """Watch and reconcile until told to stop; then nothing more is written."""
        self.leads = True
        self.metrics.is_leader.set(1)
        async with asyncio.TaskGroup() as tasks:
            working = [
                tasks.create_task(self._reconcile(), name="workers"),
                tasks.create_task(self._audits(), name="audits"),
            ]
            tasks.create_task(self.watching.run(self.stop), name="watches")
            if self._options.dry_run:
                working.append(tasks.create_task(self._once(), name="once"))
            await self.stop.wait()
            self.metrics.is_leader.set(0)
            for task in working:
                task.cancel()

    async def _reconcile(self) -> None:
        await self.synced.wait()  # what is not known yet would be taken for what is not there
        await self.queue.run(self.reconciler, self._settings.workers, self._failed)

    async def _once(self) -> None:
        """Look at all that is there, once, and stop."""
        await self.synced.wait()
        for kind in OWN:
            for key in self.store.keys(kind):
                self.queue.add(key)
        await self.queue.idle()
        self.stop.set()

    async def _lead(self, lease: Lease) -> None:
        """Work as soon as we hold the lease, and for as long as we do."""
        waiting = asyncio.ensure_future(lease.acquire())
        stopped = asyncio.ensure_future(self.stop.wait())
        await asyncio.wait({waiting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        await _ended(waiting, stopped)
        if self.stop.is_set():
            return
        log.info("leading", identity=lease.me)
        holding = asyncio.create_task(lease.hold(), name="lease")
        holding.add_done_callback(lambda _: self.stop.set())
        try:
            await self._work()
        finally:
            await _ended(holding)
        if not holding.cancelled():
            holding.result()  # raises LeaseLost
        await lease.release()

    async def _audits(self) -> None:
        """Audit now and then, and soon after a watch had a gap; wake every tier that differs.

        A gap of one watch is taken for one of all: of a kind whose last object went, a new list
        tells nothing.
        """
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._audit_now.wait(), self._until_audit())
            await asyncio.sleep(SETTLE_SECONDS)
            self._audit_now.clear()
            await self._audit()

    def _until_audit(self) -> float:
        """Return when to audit next: soon while the watches come up or lag, or one failed."""
        if self._audited and not self.synced.is_set():
            return SETTLE_SECONDS
        late = self.audit.differing or not self._audited
        return LAG_SECONDS if late else self._settings.audit_seconds

    async def _audit(self) -> None:
        self._audited = False
        try:
            found = await self.audit.compare()
        except OperatorError as error:
            log.warning("audit_failed", reason=str(error))
            return
        self._audited = True
        if self.watching.up.is_set() and not self.audit.unseen:
            self.synced.set()
        for name, keys in found.items():
            self.metrics.audit_differences.labels(name).set(len(keys))
            for key in keys:
                self.queue.add(key)

    async def _ask_hindrance(self) -> str:
        self._hindrance = await self.audit.hindrance()
        return self._hindrance

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
        if self.synced.is_set() or not self.leads:  # one that waits is as ready as it can be
            return ""
        return f"the watches are not up{self._hindrance and f': {self._hindrance}'}"

    def _text(self) -> bytes:
        self.metrics.queue_depth.set(len(self.queue))
        return self.metrics.text()


async def run(options: Options, settings: Settings) -> int:
    """Run an operator until a signal ends it, and return the process's exit code."""
    metrics = Metrics(CollectorRegistry())
    wrote = _print if options.dry_run else None
    async with connect(options.kubeconfig, settings.request_seconds, metrics.api_up.set) as server:
        operator = Operator(server, options, settings, metrics, wrote)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, operator.stop.set)
        try:
            await operator.run()
        except LeaseLost as error:
            log.error("lease_lost", reason=str(error))  # noqa: TRY400 -- expected; a traceback tells nothing
            return 1
    return 0


def _print(what: str) -> None:
    """Print a write that was only tried; events go along with others."""
    if not what.startswith("post"):
        sys.stdout.write(f"would {what}\n")


def _jitter() -> float:
    return random.uniform(0.8, 1.2)  # noqa: S311 -- spreads load, keeps no secret


async def _ended(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks, and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
