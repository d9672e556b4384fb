"""A local tier: what its user wants, its model, and what follows from both.

`local` owns the tiers and tells them of edits; a tier looks for its model by itself.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from tiergarten_api import memory
from tiergarten_api.v1alpha1 import ModelTier, ModelTierSpec
from tiergarten_fetch import Doing, Progress
from tiergarten_router.core.snapshot import Endpoint, TierStatus
from tiergarten_router.sources import builder, status
from tiergarten_router.sources.capacity import Demand
from tiergarten_router.sources.models import Model, Models, Unusable
from tiergarten_router.sources.replica import Bounds
from tiergarten_router.sources.rollout import Wanted
from tiergarten_router.sources.status import Coming, Situation, Trouble
from tiergarten_router.sources.template import Template

log = structlog.get_logger()

PROGRESS_SECONDS: Final = 0.25  # a fetch tells more than anybody reads
PASSING: Final = frozenset({"FetchFailed"})  # reasons that may pass without the user's help


@dataclass(frozen=True, slots=True)
class Parts:
    """What all tiers need.

    Attributes:
        models: Where models are.
        server: How a llama-server is started.
        environ: Where secrets are.
        retry_seconds: Pause after a failure that may pass; the fetcher itself has tried for minutes
            before.
    """

    models: Models
    server: Sequence[str]
    environ: Mapping[str, str]
    retry_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a tier runs; stays in force while the model of an edited spec is still looked for.

    Attributes:
        template: What its replicas are started from.
        replica_bytes: Estimated memory of one.
        quantization: As in the model's header.
    """

    template: Template
    replica_bytes: int
    quantization: str | None


def plan(spec: ModelTierSpec, model: Model, parts: Parts) -> Plan:
    """Return what a tier runs with a model.

    Raises:
        Unusable: If it cannot.
    """
    template = builder.template(spec, model, parts.server, parts.environ)
    header = model.header
    return Plan(template, memory.estimate(header, spec).total_bytes, header.quantization)


class LocalTier:
    """One tier.

    Args:
        resource: What its user wants.
        parts: What all tiers need.
        changed: Called when anything about it changed; must not wait.

    Attributes:
        resource: What its user wants; `apply` changes it.
        trouble: Why it cannot run as wanted, or None.
        plan: What it runs, None while that is unknown.
        surge: Whether there is memory for one more replica while they are replaced.
        too_large: Why not even one replica fits into memory, empty when it does.
    """

    def __init__(self, resource: ModelTier, parts: Parts, changed: Callable[[], None]) -> None:
        self.resource = resource
        self.trouble: Trouble | None = None
        self.plan: Plan | None = None
        self.surge = True
        self.too_large = ""
        self._parts = parts
        self._changed = changed
        self._files: dict[str, Progress] = {}
        self._search: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        self._telling: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """The tier's name."""
        return self.resource.metadata.name

    @property
    def is_quick(self) -> bool:
        """Whether its model is found, or not, without bytes that are fetched or hashed."""
        model = self.resource.spec.model
        fetched = model.source.hugging_face or model.source.http
        return not fetched and not any(file.sha256 for file in model.files or ())

    @property
    def hopeless(self) -> str:
        """Why it cannot start until its user does something; empty when it can."""
        if self.trouble and self.trouble.reason not in PASSING:
            return self.trouble.message
        return self.too_large

    @property
    def bounds(self) -> Bounds:
        """How long its replicas may take."""
        rollout = self.resource.spec.rollout
        return Bounds(rollout.startup_timeout_seconds, rollout.drain_timeout_seconds)

    def apply(self, resource: ModelTier) -> None:
        """Take an edit over; the model is looked for again, for its files may be new ones.

        A fetch that goes on is left alone if the edit wants the same model.
        """
        same = resource.spec.model == self.resource.spec.model
        self.resource = resource
        if self._is_searching() and same:
            return
        self.search()

    def search(self) -> None:
        """Look for the model, unless the tier is suspended and so needs none."""
        self.close()
        self.trouble = None
        self._files = {}
        self._settled.clear()
        if self.resource.spec.suspend and self.plan is None:
            self._settled.set()
            return
        self._search = asyncio.create_task(self._find(), name=f"model of {self.name}")

    async def settled(self) -> None:
        """Wait until it is known whether there is a model that can be served."""
        await self._settled.wait()

    def close(self) -> None:
        """Give up looking for the model."""
        if self._search is not None:
            self._search.cancel()
        if self._telling is not None:
            self._telling.cancel()
        self._search = self._telling = None

    def wanted(self) -> Wanted | None:
        """Return what must run, None while that is unknown."""
        if self.plan is None:
            return None
        count = 0 if self.too_large else status.replicas(self.resource.spec)
        surge = self.surge and self.resource.spec.rollout.strategy != "Recreate"
        return Wanted(self.name, self.plan.template, count, surge)

    def demand(self, running: int) -> Demand | None:
        """Return how much memory it needs, None while that is unknown."""
        if self.plan is None:
            return None
        count = status.replicas(self.resource.spec)
        return Demand(self.name, self.plan.replica_bytes, count, running)

    def status(self, endpoints: Sequence[Endpoint], notice: str) -> TierStatus:
        """Return what is said of it."""
        trouble = Trouble("NoMemory", self.too_large) if self.too_large else self.trouble
        situation = Situation(self.resource.spec, endpoints, trouble, self._coming(), notice)
        if self.plan is not None:
            situation = replace(
                situation,
                memory_bytes=self.plan.replica_bytes,
                quantization=self.plan.quantization,
            )
        return status.status(situation)

    # -- the model

    def _is_searching(self) -> bool:
        return self._search is not None and not self._search.done()

    def _coming(self) -> Coming | None:
        if not self._is_searching():
            return None
        files = self._files.values()
        sizes = [file.total_bytes for file in files]
        known = [size for size in sizes if size is not None]
        whole = len(known) == len(self.resource.spec.model.files or sizes) and known
        notes = [file.note or file.doing for file in files if file.doing not in _SMOOTH]
        here = sum(file.fetched_bytes for file in files)
        return Coming(here, sum(known) if whole else None, "; ".join(notes))

    async def _find(self) -> None:
        while True:
            try:
                model = await self._parts.models.get(self.resource.spec.model, self._progress)
                # The resource as it is now: it may have been edited during the fetch.
                self.plan = plan(self.resource.spec, model, self._parts)
                self.trouble = None
            except Unusable as error:
                self.trouble = Trouble(error.reason, error.message)
            except Exception as error:
                self.trouble = Trouble("FetchFailed", f"{type(error).__name__}: {error}")
                log.exception("model_search_failed", tier=self.name)
            self._settled.set()
            self._changed()
            if self.trouble is None:
                return
            log.error("model_unusable", tier=self.name, reason=self.trouble.reason,
                      message=self.trouble.message)  # fmt: skip
            if self.trouble.reason not in PASSING:
                return
            await asyncio.sleep(self._parts.retry_seconds)
            self.trouble = None

    def _progress(self, progress: Progress) -> None:
        self._files[progress.file] = progress
        if self._telling is None:
            loop = asyncio.get_running_loop()
            self._telling = loop.call_later(PROGRESS_SECONDS, self._tell)

    def _tell(self) -> None:
        self._telling = None
        self._changed()


_SMOOTH: Final = frozenset({Doing.FETCHING, Doing.DONE})
