"""The one orchestrator: the order in which a query is answered.

Score, plan, then one attempt after the other until one has content: lease an endpoint, ask it, and
on failure go to the tier's next endpoint or to the route's next tier. Nothing below calls back up.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias, TypeVar

import structlog

from tiergarten_router.core import affinity, context, endings, plan, score
from tiergarten_router.core.assembly import Assembly
from tiergarten_router.core.budget import Budget
from tiergarten_router.core.plan import Demand, Plan
from tiergarten_router.core.query import Query
from tiergarten_router.core.routes import Route
from tiergarten_router.core.snapshot import Tier
from tiergarten_router.errors import (
    AttemptFailed,
    ConnectFailed,
    ContextOverflow,
    FirstTokenTimeout,
    Misconfigured,
    NoReadyTier,
    NotReadyYet,
    Refused,
    RouterError,
    Saturated,
)
from tiergarten_router.events import bus
from tiergarten_router.fleet import Fleet, Lease
from tiergarten_router.metrics import Metrics
from tiergarten_router.record import Record
from tiergarten_router.settings import Settings
from tiergarten_router.upstream import endpoints, stream
from tiergarten_router.upstream.endpoints import Endpoints
from tiergarten_router.upstream.intake import Event
from tiergarten_router.upstream.stream import Limits, Stream

log = structlog.get_logger()
T = TypeVar("T")
CALLER: Final = b"authorization"  # the header that tells callers apart
NO_TIER: Final = NoReadyTier("")
PAUSE_SECONDS: Final = 0.05  # before an endpoint is asked a second time, on average
DEATHS_MOST: Final = 2  # replicas that one query may have killed

Headers = Callable[[bytes], bytes | None]  # a request's header by its name in lower case


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
        except AttemptFailed as error:
            self._judged = True
            _judge(self._fleet, self._lease, error)
            raise
        if not events and not self._judged:
            self._finished()
        return events

    @property
    def whole(self) -> bool:
        """Whether all of it has come, so that `next` waits no more."""
        return self._stream.whole

    def tap(self, take: Callable[[list[Event]], bool]) -> None:
        """Have events taken in the moment in which they come, while `next` waits for them.

        Args:
            take: Takes events; False leaves them, and those that follow, to `next`.
        """
        self._stream.tap = take

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
        if record.timings is not None:
            if record.timings.predicted_per_second:
                replica.tokens_per_second.add(record.timings.predicted_per_second)
            held = self._fleet.keeps(self._lease, record.timings)
            if held is not None:
                record.metrics.prefixes.add(record.tier, "hit" if held else "miss")
        if record.usage is not None:
            self._fleet.learn(record.query.characters, record.usage.prompt_tokens)


@dataclass(slots=True)
class Way:
    """What became of a query so far.

    Attributes:
        route: Its route.
        tried: Ids of the endpoints that were asked.
        deaths: Connections that were lost with the query in them.
        failure: Why it has no answer yet.
        over: Whether nothing more is tried.
        longest: The prompt in tokens, once an endpoint has counted it.
        again: Whether every endpoint was tried, and they are tried anew.
    """

    route: Route
    tried: set[str] = field(default_factory=set)
    deaths: int = 0
    failure: RouterError = NO_TIER
    over: bool = False
    longest: int = 0
    again: bool = False


Attempt: TypeAlias = Callable[[Record, Lease, Limits], Awaitable[T]]


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
        self._budget = Budget()
        self._conversation = settings.affinity_header.lower().encode()
        self._detailed = settings.log_level == "debug"
        self.tell: bus.Tell = bus.ignore

    @property
    def budget(self) -> Budget:
        """The retries that may still be made."""
        return self._budget

    def record(self, query: Query, headers: Headers | None = None) -> Record:
        """Return the record of a query, to be entered before it is answered.

        Args:
            query: It.
            headers: Finds a header of its request; None for a query without any.
        """
        record = Record(query, self._clock, self._metrics, self._detailed, tell=self.tell)
        conversation = None
        if headers is not None:
            conversation, record.caller = headers(self._conversation), headers(CALLER) or b""
        record.claim = affinity.claim(query, conversation, hash(record.caller))
        return record

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
            raise endings.unknown(query.model, self._fleet.routes.names)
        if not query.embeds:
            record.rated = score.rate(query.text, background=query.background)
        per_token = self._fleet.characters_per_token
        record.prompt_tokens = context.estimate_tokens(query.characters, per_token)
        demand = Demand(
            record.rated.score,
            record.prompt_tokens,
            query.answer_tokens,
            query.background,
            query.embeds,
            query.needs,
        )
        planned = plan.candidates(route, demand, self._draw())
        record.routed_seconds = self._clock() - record.started
        return route, planned

    # -- tiers, endpoints, attempts

    async def _answer(self, record: Record, attempt: Attempt[T]) -> T:
        route, planned = self.plan(record)
        if not planned.candidates:
            raise endings.unplanned(route, planned)
        self._metrics.decisions.add(planned.candidates[0].tier.name, route.strategy.value)
        record.routed(route.name, route.strategy.value, planned.candidates)
        self._budget.begin(record.started)
        try:
            return await self._on_tiers(record, route, planned, attempt)
        finally:
            self._budget.end()

    async def _on_tiers(
        self, record: Record, route: Route, planned: Plan, attempt: Attempt[T]
    ) -> T:
        way = Way(route)
        while True:
            try:
                return await self._round(record, way, planned, attempt)
            except RouterError:
                if not _may_begin_anew(way, record):
                    raise endings.final(way.failure, route) from None
            await asyncio.sleep(PAUSE_SECONDS * (0.5 + self._draw()))
            way.tried.clear()
            way.again = True
            record.tier = ""

    async def _round(self, record: Record, way: Way, planned: Plan, attempt: Attempt[T]) -> T:
        """Try the tiers, each endpoint once."""
        for candidate in planned.candidates:
            tier = candidate.tier
            if way.longest > tier.slot_tokens:
                continue
            if record.tier and record.tier != tier.name:
                self._falls_back(record, tier, way.failure)
            record.tier, record.model = tier.name, tier.model
            try:
                return await self._on_tier(record, way, tier, attempt)
            except (AttemptFailed, NoReadyTier, Saturated) as error:
                self._learn(record, way, tier, error)
            if way.over or not endings.goes_on(way.failure, way.route, record.attempts):
                break
        raise way.failure

    def _learn(self, record: Record, way: Way, tier: Tier, failure: RouterError) -> None:
        """Note why a tier has not answered."""
        if isinstance(failure, ContextOverflow):
            way.longest = max(way.longest, failure.prompt_tokens, tier.slot_tokens + 1)
            self._fleet.learn(record.query.characters, failure.prompt_tokens)
        if not (way.again and isinstance(failure, NoReadyTier)):  # it says less than the first one
            way.failure = failure

    async def _on_tier(self, record: Record, way: Way, tier: Tier, attempt: Attempt[T]) -> T:
        """Try the tier's endpoints, each once, until one answers."""
        until = record.started + way.route.total_seconds
        failure: AttemptFailed | None = None
        while True:
            lease = await self._lease(record, way, tier, failure, until)
            first_token_at = min(self._clock() + way.route.first_token_seconds, until)
            limits = Limits(first_token_at, until, self._settings.idle_seconds)
            try:
                return await attempt(record, lease, limits)
            except AttemptFailed as error:
                self._failed(record, error)
                way.deaths += error.died
                way.over = way.deaths >= DEATHS_MOST
                spent = way.over or record.attempts >= way.route.max_attempts
                if isinstance(error, Refused) or spent:
                    raise
                failure = way.failure = error

    async def _lease(
        self, record: Record, way: Way, tier: Tier, failure: AttemptFailed | None, until: float
    ) -> Lease:
        """Claim the endpoint of the next attempt.

        Raises:
            RouterError: If there is none, or no retry is left: what failed before, if anything did.
        """
        asked_at = self._clock()
        try:
            lease = await self._fleet.lease(tier.name, way.tried, until, record.claim)
        except NoReadyTier:
            if failure is not None:
                raise failure from None
            raise
        finally:
            waited = self._clock() - asked_at
            record.queue_seconds += waited
        self._metrics.queue_waits.observe(waited, tier.name)
        if record.attempts and not self._may_retry(way, lease):
            way.over = True
            self._metrics.budget_exhausted.add()
            self._fleet.abandoned(lease)
            lease.release()
            raise way.failure
        if failure is not None:
            self._metrics.retries.add(tier.name, failure.cause)
        way.tried.add(lease.replica.endpoint.id)
        record.endpoint = lease.replica.endpoint.id
        record.attempts += 1
        record.tried()
        return lease

    def _may_retry(self, way: Way, lease: Lease) -> bool:
        """Return whether the budget has a retry left, or needs none.

        What moves a query away from a lost connection, or to an endpoint that answers well, adds
        nothing to the load of one that is failing for too much of it.
        """
        now = lease.began
        if isinstance(way.failure, AttemptFailed) and _lost(way.failure):
            return True
        return lease.replica.does_well(now) or self._budget.spend(now)

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
            _judge(self._fleet, lease, error)
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
        self._metrics.fallbacks.add(record.tier, to.name, endings.cause(failure))
        log.warning(
            "query_fell_back",
            request_id=record.query.id,
            tier=record.tier,
            to=to.name,
            reason=endings.cause(failure),
        )


def _judge(fleet: Fleet, lease: Lease, error: BaseException) -> None:
    """Tell the fleet what an attempt's failure says of its endpoint."""
    if isinstance(error, NotReadyYet):
        fleet.rests(lease, error.status, float(error.retry_after_seconds or 1))
    elif isinstance(error, Misconfigured):
        fleet.rests(lease)
    elif isinstance(error, AttemptFailed) and error.breaks:
        fleet.failed(lease)
    else:
        fleet.abandoned(lease)


def _may_begin_anew(way: Way, record: Record) -> bool:
    """Return whether endpoints that have failed are asked again, as there are no others left.

    Not those that are full or loading, that took too long, or that called it the client's mistake.
    """
    failure = way.failure
    if way.again or way.over or not record.attempts or record.attempts >= way.route.max_attempts:
        return False
    fails = isinstance(failure, AttemptFailed) and failure.breaks
    return fails and not isinstance(failure, FirstTokenTimeout)


def _lost(failure: AttemptFailed) -> bool:
    return failure.died or isinstance(failure, ConnectFailed)
