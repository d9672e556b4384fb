"""Keeps kopf running: it ends on any error in a watch, and is started again without losing work.

Store and queue outlive it. After each start the audit tells what went while nothing was watched.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import kopf
import structlog

from tiergarten_operator.workqueue import Backoff

log = structlog.get_logger()

STEADY_SECONDS: Final = 60.0
"""A run of this length counts as good: the next failure is a first one again."""


@dataclass
class Watching:
    """Supervises kopf's operator.

    Attributes:
        registry: What kopf watches and calls.
        settings: Makes kopf's settings, anew for each run.
        namespaces: Those to watch; empty for all.
        clock: Seconds of a monotonic clock.
        restarted: Told why a run ended.
        ready: Set while the watches are up.
        backoff: How long to wait after a run that ended.
    """

    registry: kopf.OperatorRegistry
    settings: Callable[[], kopf.OperatorSettings]
    namespaces: Sequence[str]
    clock: Callable[[], float]
    restarted: Callable[[str], None] = lambda _: None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    backoff: Backoff = field(default_factory=lambda: Backoff(1.0, 30.0))

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until told to stop."""
        failures = 0
        while not stop.is_set():
            began = self.clock()
            reason = await self._once(stop)
            if stop.is_set() or reason is None:
                return
            self.restarted(reason)
            failures = 1 if self.clock() - began > STEADY_SECONDS else failures + 1
            seconds = self.backoff.after(failures)
            log.warning("watches_ended", reason=reason, again_seconds=seconds)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), seconds)

    async def _once(self, stop: asyncio.Event) -> str | None:
        """Run kopf once; return why it ended, or None if it was asked to."""
        self.ready.clear()
        try:
            await kopf.operator(
                registry=self.registry,
                settings=self.settings(),
                namespaces=list(self.namespaces),
                clusterwide=not self.namespaces,
                standalone=True,
                stop_flag=stop,
                ready_flag=self.ready,
            )
        except Exception as error:  # noqa: BLE001 -- whatever ends kopf, the operator goes on
            return type(error).__name__
        finally:
            self.ready.clear()
        return None
