"""What became of one query: filled in on its way, told to metrics, log and events."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import structlog

from tiergarten_router import wire
from tiergarten_router.core.affinity import ANYBODY, Claim
from tiergarten_router.core.plan import Candidates
from tiergarten_router.core.query import Query
from tiergarten_router.core.score import Rated
from tiergarten_router.errors import AttemptFailed, RouterError
from tiergarten_router.events import bus, kinds
from tiergarten_router.metrics import Metrics

log = structlog.get_logger()
UNRATED = Rated(0, ())
PROGRESS_SECONDS: Final = 5.0  # between two events about an answer that goes on
TIERS_SHOWN: Final = 16
CACHE_KINDS: Final = {
    "hit": kinds.CacheHit,
    "miss": kinds.CacheMissed,
    "bypass": kinds.CacheBypassed,
}


@dataclass(slots=True)
class Record:
    """One query's way; leaving the block ends it.

    Attributes:
        query: The query.
        clock: Monotonic seconds.
        metrics: Where its end is counted.
        detailed: Whether its good end is logged too; building the line costs as much as the score.
        caller: The credentials of its request, empty without; never told to anybody.
        claim: What its endpoint is chosen by.
        started: Clock time at which it was parsed.
        rated: Its score.
        prompt_tokens: About how long its prompt is, in tokens.
        tier: The tier that was asked last, empty before the first attempt.
        model: That tier's model name.
        endpoint: The endpoint's id.
        attempts: How many tries there were.
        fallbacks: The tiers that were given up, in order.
        cache: What the cache did: off, hit, miss or bypass.
        age_seconds: Age of a cached answer.
        refreshes: Whether the client wants an answer that is new, and kept.
        routed_seconds: Time for score and plan.
        queue_seconds: Time in queues.
        first_token_seconds: Time to the first content, 0 before it.
        total_seconds: Time to the end, 0 before it.
        usage: Tokens, once told.
        timings: llama-server's measurements, once told.
        outcome: How it ended.
        pieces: Events of the answer that were relayed.
        progress_at: Clock time of the next event about an answer that goes on.
        tell: Where events go.
    """

    query: Query
    clock: Callable[[], float]
    metrics: Metrics
    detailed: bool = False
    caller: bytes = field(default=b"", repr=False)
    claim: Claim = ANYBODY
    started: float = 0.0
    rated: Rated = UNRATED
    prompt_tokens: int = 0
    tier: str = ""
    model: str = ""
    endpoint: str = ""
    attempts: int = 0
    fallbacks: list[str] = field(default_factory=list)
    cache: str = "off"
    age_seconds: int = 0
    refreshes: bool = False
    routed_seconds: float = 0.0
    queue_seconds: float = 0.0
    first_token_seconds: float = 0.0
    total_seconds: float = 0.0
    usage: wire.Usage | None = None
    timings: wire.Timings | None = None
    outcome: str = "ok"
    pieces: int = 0
    progress_at: float = 0.0
    tell: bus.Tell = bus.ignore

    def __enter__(self) -> Self:
        self.started = self.clock()
        query = self.query
        self.tell(kinds.Received(bus.now(), query.id, query.path, query.streams))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.total_seconds = self.clock() - self.started
        self.outcome = self._outcome(error)
        self._tell_end(error)
        metrics, tier = self.metrics, self.tier
        metrics.requests.add(tier or "none", self.outcome)
        if self.rated is not UNRATED:
            metrics.scores.observe(self.rated.score)
        if error is None:
            metrics.durations.observe(self.total_seconds, tier)
            metrics.first_tokens.observe(self.first_token_seconds, tier)
            if self.usage is not None and self.cache != "hit":  # those were counted before
                metrics.tokens.add(tier, "prompt", amount=self.usage.prompt_tokens)
                metrics.tokens.add(tier, "completion", amount=self.usage.completion_tokens)
            if self.detailed:
                log.debug("query_completed", **self._fields())
        elif self.outcome not in {"client_error", "client_closed"}:
            log.error("query_failed", reason=str(error), **self._fields())

    def routed(self, route: str, strategy: str, candidates: Candidates) -> None:
        """Note which tiers will be tried, in order."""
        names = tuple([candidate.tier.name for candidate in candidates[:TIERS_SHOWN]])
        rated, now = self.rated, bus.now()
        self.tell(
            kinds.Routed(
                now, self.query.id, route, strategy, names[0], names, rated.score, rated.reasons
            )
        )

    def tried(self, result: str = "asked") -> None:
        """Note that the endpoint is asked, or with which code it has failed."""
        self.tell(
            kinds.Attempt(bus.now(), self.query.id, self.tier, self.endpoint, self.attempts, result)
        )

    def content(self, at: float | None) -> None:
        """Note when the first content came, in clock time."""
        self.first_token_seconds = (at or self.clock()) - self.started
        self.progress_at = self.started + self.first_token_seconds + PROGRESS_SECONDS
        ms = _ms(self.first_token_seconds)
        self.tell(kinds.FirstToken(bus.now(), self.query.id, self.tier, self.endpoint, ms))

    def relayed(self, pieces: int) -> None:
        """Note that events of the answer were relayed."""
        self.pieces += pieces
        now = self.clock()
        if now >= self.progress_at:
            self.progress_at = now + PROGRESS_SECONDS
            ident, ms = self.query.id, _ms(now - self.started)
            self.tell(kinds.Progress(bus.now(), ident, self.tier, self.endpoint, self.pieces, ms))

    def _tell_end(self, error: BaseException | None) -> None:
        now, ident, total = bus.now(), self.query.id, _ms(self.total_seconds)
        cached = CACHE_KINDS.get(self.cache)
        if cached is not None:
            self.tell(cached(now, ident))
        if error is None:
            self.tell(self._completed(now))
            return
        tier, endpoint, attempts = self.tier, self.endpoint, self.attempts
        if self.outcome == "client_closed":
            self.tell(kinds.Cancelled(now, ident, tier, endpoint, attempts, total))
            return
        code = error.code if isinstance(error, RouterError) else RouterError.code
        given_up = tuple(self.fallbacks)
        self.tell(
            kinds.Failed(now, ident, tier, endpoint, self.outcome, code, attempts, given_up, total)
        )

    def _completed(self, now: float) -> kinds.Completed:
        usage, timings = self.usage, self.timings
        return kinds.Completed(
            now,
            self.query.id,
            self.tier,
            self.model,
            self.endpoint,
            self.rated.score,
            self.attempts,
            tuple(self.fallbacks),
            self.cache,
            _ms(self.queue_seconds),
            _ms(self.first_token_seconds),
            _ms(self.total_seconds),
            usage.prompt_tokens if usage is not None else None,
            usage.completion_tokens if usage is not None else None,
            timings.predicted_per_second if timings is not None else None,
        )

    def _outcome(self, error: BaseException | None) -> str:
        if error is None:
            return "ok"
        if isinstance(error, asyncio.CancelledError):
            return "client_closed"
        if isinstance(error, AttemptFailed) and self.first_token_seconds and self.query.streams:
            return "stream_broken"
        return error.outcome if isinstance(error, RouterError) else "internal"

    def _fields(self) -> dict[str, object]:
        return {
            "request_id": self.query.id,
            "tier": self.tier,
            "endpoint": self.endpoint,
            "outcome": self.outcome,
            "score": self.rated.score,
            "attempts": self.attempts,
            "fallbacks": self.fallbacks,
            "first_token_ms": round(1000 * self.first_token_seconds, 1),
            "total_ms": round(1000 * self.total_seconds, 1),
        }


def _ms(seconds: float) -> float:
    return 1000 * seconds
