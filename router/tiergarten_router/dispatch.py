"""The one orchestrator: the order in which a query is answered.

Score, plan, then one attempt after the other until one has content: lease an endpoint, ask it, and
on failure go to the tier's next endpoint or to the route's next tier. Nothing below calls back up.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from tiergarten_router.core import context, plan, score
from tiergarten_router.core.assembly import Assembly
from tiergarten_router.core.plan import Demand, Plan
from tiergarten_router.core.query import Query
from tiergarten_router.core.routes import Route
from tiergarten_router.core.snapshot import Tier
from tiergarten_router.errors import (
    AttemptFailed,
    ContextExceeded,
    ContextOverflow,
    NoReadyTier,
    NotReadyYet,
    Refused,
    RouterError,
    Saturated,
    UnknownModel,
    Unsupported,
)
from tiergarten_router.events import bus
from tiergarten_router.fleet import Fleet, Lease
from tiergarten_router.metrics import Metrics
from tiergarten_router.record import Record
from tiergarten_router.settings import Settings
from tiergarten_router.upstream import endpoints, stream
from tiergarten_router.upstream.endpoints import Endpoints
from tiergarten_router.upstream.stream import Event, Limits, Stream

log = structlog.get_logger()
T = TypeVar("T")
NAMES_SHOWN: Final = 20  # of models, in the error for an unknown one
RETRY_SECONDS: Final = 5


class Answer:
    """An answer that has begun: its events, and the lease that they cost.

    Attributes:
        record: What was decided.
    """

    def __init__(self, record: Record, fleet: Fleet, lease: Lease, answer: Stream) -> None:
        self.record = record
        self._fleet = fleet
        self._lease = lease
        self._stream = answer
        self._judged = False

    async def next(self) -> list[Event]:
        """Return the events that have come since; empty at the end.

        Raises:
            StreamBroken: If the answer will not be whole.
            DeadlineExceeded: If the route's total time is over.
        """
        try:
            events = await self._stream.next()
        except AttemptFailed:
            self._judged = True
            self._fleet.failed(self._lease)
            raise
        if not events and not self._judged:
            self._finished()
        return events

    def close(self) -> None:
        """Give the endpoint back; before the end, the answer is left."""
        self._stream.close()
        if not self._judged:
            self._fleet.abandoned(self._lease)
        self._lease.release()

    def _finished(self) -> None:
        self._judged = True
        record, replica = self.record, self._lease.replica
        record.usage, record.timings = self._stream.usage, self._stream.timings
        self._fleet.succeeded(self._lease)
        replica.latency_seconds.add(record.clock() - record.started - record.queue_seconds)
        replica.first_token_seconds.add(record.first_token_seconds - record.queue_seconds)
        if record.timings is not None and record.timings.predicted_per_second:
            replica.tokens_per_second.add(record.timings.predicted_per_second)
        if record.usage is not None:
            self._fleet.learn(record.query.characters, record.usage.prompt_tokens)


class Dispatcher:
    """Answers queries.

    Args:
        fleet: Who may be asked.
        endpoints: The connections.
        metrics: Where things are counted.
        settings: Times.
        clock: The event loop's time.
        draw: A random number from 0 to 1.

    Attributes:
        tell: Where events of queries go.
    """

    def __init__(
        self,
        fleet: Fleet,
        endpoints: Endpoints,
        metrics: Metrics,
        settings: Settings,
        clock: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._endpoints = endpoints
        self._metrics = metrics
        self._settings = settings
        self._clock = clock
        self._draw = draw
        self.tell: bus.Tell = bus.ignore

    def record(self, query: Query) -> Record:
        """Return the record of a query, to be entered before it is answered."""
        detailed = self._settings.log_level == "debug"
        return Record(query, self._clock, self._metrics, detailed, tell=self.tell)

    async def stream(self, record: Record) -> Answer:
        """Return an answer at its first content; close it in the end.

        Raises:
            RouterError: If no tier can begin an answer.
        """
        return await self._answer(record, self._begin)

    async def whole(self, record: Record) -> Assembly:
        """Return an answer that is whole; an endpoint that dies midway costs a retry.

        Raises:
            RouterError: If no tier can answer.
        """
        return await self._answer(record, self._assemble)

    async def body(self, record: Record) -> bytes:
        """Return the body of an answer that is no stream, as the endpoint wrote it.

        Raises:
            RouterError: If no tier can answer.
        """
        return await self._answer(record, self._fetch)

    def plan(self, record: Record) -> tuple[Route, Plan]:
        """Score a query and plan its way.

        Raises:
            UnknownModel: If nothing has the name that was asked for.
        """
        query = record.query
        route = self._fleet.routes.find(query.model)
        if route is None:
            raise _unknown(query.model, self._fleet.routes.names)
        if not query.embeds:
            record.rated = score.rate(query.text, background=query.background)
        tokens = context.estimate_tokens(query.characters, self._fleet.characters_per_token)
        demand = Demand(
            record.rated.score,
            tokens,
            query.answer_tokens,
            query.background,
            query.embeds,
            query.needs,
        )
        planned = plan.candidates(route, demand, self._draw())
        record.routed_seconds = self._clock() - record.started
        return route, planned

    # -- tiers, endpoints, attempts

    async def _answer(
        self, record: Record, attempt: Callable[[Record, Lease, Limits], Awaitable[T]]
    ) -> T:
        route, planned = self.plan(record)
        if not planned.candidates:
            raise _unplanned(route, planned)
        self._metrics.decisions.add(planned.candidates[0].tier.name, route.strategy.value)
        record.routed(route.name, route.strategy.value, planned.candidates)
        tried: set[str] = set()
        longest = 0  # the prompt in tokens, once an endpoint has counted it
        failure: RouterError = NoReadyTier("")
        for candidate in planned.candidates:
            tier = candidate.tier
            if longest > tier.slot_tokens:
                continue
            if record.tier and record.tier != tier.name:
                self._falls_back(record, tier, failure)
            record.tier, record.model = tier.name, tier.model
            try:
                return await self._on_tier(record, route, tier, tried, attempt)
            except ContextOverflow as error:
                failure, longest = error, max(longest, error.prompt_tokens, tier.slot_tokens + 1)
                self._fleet.learn(record.query.characters, error.prompt_tokens)
            except (AttemptFailed, NoReadyTier, Saturated) as error:
                failure = error
            if not _goes_on(failure, route, record):
                break
        raise _final(failure, route)

    async def _on_tier(
        self,
        record: Record,
        route: Route,
        tier: Tier,
        tried: set[str],
        attempt: Callable[[Record, Lease, Limits], Awaitable[T]],
    ) -> T:
        """Try the tier's endpoints, each once, until one answers."""
        until = record.started + route.total_seconds
        failure: AttemptFailed | None = None
        while True:
            asked_at = self._clock()
            try:
                lease = await self._fleet.lease(tier.name, tried, until)
            except (NoReadyTier, Saturated):
                if failure is not None:
                    raise failure from None
                raise
            finally:
                record.queue_seconds += self._clock() - asked_at
            self._metrics.queue_waits.observe(self._clock() - asked_at, tier.name)
            tried.add(lease.replica.endpoint.id)
            record.endpoint = lease.replica.endpoint.id
            record.attempts += 1
            record.tried()
            first_token_at = min(self._clock() + route.first_token_seconds, until)
            limits = Limits(first_token_at, until, self._settings.idle_seconds)
            try:
                return await attempt(record, lease, limits)
            except AttemptFailed as error:
                self._failed(record, error)
                if isinstance(error, Refused) or record.attempts >= route.max_attempts:
                    raise
                failure = error

    async def _begin(
        self, record: Record, lease: Lease, limits: Limits, assembly: Assembly | None = None
    ) -> Answer:
        pool = self._endpoints.pool(lease.replica.endpoint.url)
        request = self._request(record, lease, pool.authority)
        begun = await self._judged(lease, stream.open_stream(pool, request, limits, assembly))
        record.content(begun.content_at)
        self._metrics.attempts.add(lease.tier.name, "begun")
        return Answer(record, self._fleet, lease, begun)

    async def _assemble(self, record: Record, lease: Lease, limits: Limits) -> Assembly:
        assembly = Assembly()
        answer = await self._begin(record, lease, limits, assembly)
        try:
            await answer.next()  # nothing is left; it ends the exchange
        finally:
            answer.close()
        return assembly

    async def _fetch(self, record: Record, lease: Lease, limits: Limits) -> bytes:
        pool = self._endpoints.pool(lease.replica.endpoint.url)
        request = self._request(record, lease, pool.authority)
        body = await self._judged(lease, stream.whole_body(pool, request, limits))
        record.content(self._clock())
        self._metrics.attempts.add(lease.tier.name, "begun")
        self._fleet.succeeded(lease)
        lease.release()
        return body

    def _request(self, record: Record, lease: Lease, authority: str) -> bytes:
        query, tier = record.query, lease.tier
        payload = query.payload(tier.model)
        return endpoints.request(authority, query.path, payload, query.id, tier.api_key)

    async def _judged(self, lease: Lease, asked: Awaitable[T]) -> T:
        """Await an endpoint; if it fails, tell the fleet what that says of it."""
        try:
            return await asked
        except BaseException as error:  # also a cancelled query gives its endpoint back
            if isinstance(error, AttemptFailed) and error.breaks:
                self._fleet.failed(lease)
            else:
                self._fleet.abandoned(lease, busy=isinstance(error, NotReadyYet))
            lease.release()
            raise

    def _failed(self, record: Record, error: AttemptFailed) -> None:
        self._metrics.attempts.add(record.tier, error.code)
        record.tried(error.code)
        if not isinstance(error, Refused):
            log.warning(
                "attempt_failed",
                request_id=record.query.id,
                tier=record.tier,
                endpoint=record.endpoint,
                reason=error.message,
                code=error.code,
            )

    def _falls_back(self, record: Record, to: Tier, failure: RouterError) -> None:
        record.fallbacks.append(record.tier)
        self._metrics.fallbacks.add(record.tier, to.name, _cause(failure))
        log.warning(
            "query_fell_back",
            request_id=record.query.id,
            tier=record.tier,
            to=to.name,
            reason=_cause(failure),
        )


def _cause(failure: RouterError) -> str:
    """Return the name that `TierRoute.spec.fallback.on` has for a failure."""
    if isinstance(failure, AttemptFailed):
        return failure.cause
    return "Saturated" if isinstance(failure, Saturated) else "NoEndpoints"


def _goes_on(failure: RouterError, route: Route, record: Record) -> bool:
    if isinstance(failure, Refused) and not isinstance(failure, ContextOverflow):
        return False
    tries_left = record.attempts < route.max_attempts or not isinstance(failure, AttemptFailed)
    return tries_left and _cause(failure) in route.fallback_on


def _final(failure: RouterError, route: Route) -> RouterError:
    """Return what the client is told when the last candidate has failed."""
    if isinstance(failure, ContextOverflow):
        largest = max(routed.tier.slot_tokens for routed in route.tiers)
        if failure.prompt_tokens and failure.prompt_tokens < largest:
            return _not_passed_on(route, failure, largest)
        return _too_long(route, failure.prompt_tokens, largest)
    if isinstance(failure, NoReadyTier):
        return NoReadyTier(
            f"No tier of {route.model} has an endpoint that may be asked now; see /v1/tiers.",
            retry_after_seconds=RETRY_SECONDS,
        )
    return failure


def _unplanned(route: Route, planned: Plan) -> RouterError:
    if planned.too_long:
        return _too_long(route, 0, planned.largest_prompt_tokens)
    if not planned.refused:
        return _final(NoReadyTier(""), route)
    reasons = "; ".join(f"{refused.tier.name}: {refused.reason}" for refused in planned.refused)
    return Unsupported(f"No tier of {route.model} can answer this: {reasons}.", param="model")


def _too_long(route: Route, prompt_tokens: int, largest: int) -> ContextExceeded:
    counted = f" of {prompt_tokens} tokens" if prompt_tokens else ""
    return ContextExceeded(
        f"The prompt{counted} is too long: the largest window of {route.model} holds {largest}"
        " tokens with its answer. Shorten the prompt.",
        param="messages",
    )


def _not_passed_on(route: Route, failure: ContextOverflow, largest: int) -> ContextExceeded:
    return ContextExceeded(
        f"The prompt of {failure.prompt_tokens} tokens is too long for the {failure.slot_tokens} of"
        f" the tier that was asked, and {route.model} does not go on to the one that holds"
        f" {largest}: see its fallback.on and maxAttempts. Shorten the prompt.",
        param="messages",
    )


def _unknown(model: str, names: tuple[str, ...]) -> UnknownModel:
    shown = ", ".join(names[:NAMES_SHOWN]) or "none yet"
    return UnknownModel(
        f"The model {model[:100]!r} does not exist; there are: {shown}.", param="model"
    )
