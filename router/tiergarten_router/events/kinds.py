"""The kinds of events, as typed structs: what is told, and the JSON Schema of it.

An event is cheap to make (a struct, no dictionary) and is turned into JSON once, when somebody is
there to read it. None holds a prompt, an answer, a key or an address: endpoints go by their ids.
`messages` adds where an event stands: its epoch, its sequence and the router that told it.
"""

from typing import Final, TypeAlias, get_args

import msgspec
from msgspec import Struct


class Event(Struct, gc=False, tag_field="type"):
    """What every event has.

    Attributes:
        time: Unix time in seconds.
    """

    time: float


class Received(Event, tag="query.received"):
    """A query was parsed and bounded."""

    query: str
    door: str
    stream: bool


class Routed(Event, tag="query.routed"):
    """A query has its score and its tiers, in the order in which they are tried."""

    query: str
    route: str
    strategy: str
    tier: str
    tiers: tuple[str, ...]
    score: int
    reasons: tuple[str, ...]


class Attempt(Event, tag="query.attempt"):
    """An endpoint is asked, or has failed a query.

    Attributes:
        number: Which try it is, from 1.
        result: `asked`, or the error's code once it failed.
    """

    query: str
    tier: str
    endpoint: str
    number: int
    result: str


class FirstToken(Event, tag="query.first_token"):
    """The first content of an answer is there."""

    query: str
    tier: str
    endpoint: str
    first_token_ms: float


class Progress(Event, tag="query.progress"):
    """An answer is still being streamed; told every few seconds.

    Attributes:
        pieces: Events of the answer so far, about one a token.
    """

    query: str
    tier: str
    endpoint: str
    pieces: int
    total_ms: float


class Completed(Event, tag="query.completed"):
    """A query was answered."""

    query: str
    tier: str
    model: str
    endpoint: str
    score: int
    attempts: int
    fallbacks: tuple[str, ...]
    cache: str
    queue_ms: float
    first_token_ms: float
    total_ms: float
    prompt_tokens: int | None
    completion_tokens: int | None
    tokens_per_second: float | None


class Failed(Event, tag="query.failed"):
    """A query ended without a whole answer.

    Attributes:
        outcome: As in the metric `requests_total`.
        code: The error's code, `internal_error` for a fault of the router.
    """

    query: str
    tier: str
    endpoint: str
    outcome: str
    code: str
    attempts: int
    fallbacks: tuple[str, ...]
    total_ms: float


class Cancelled(Event, tag="query.cancelled"):
    """The client left before the end."""

    query: str
    tier: str
    endpoint: str
    attempts: int
    total_ms: float


class TierAdded(Event, tag="tier.added"):
    """A tier is there."""

    tier: str
    model: str


class TierRemoved(Event, tag="tier.removed"):
    """A tier is gone."""

    tier: str


class TierChanged(Event, tag="tier.changed"):
    """A tier's definition or the operator's word for its state changed."""

    tier: str
    reason: str


class TierReady(Event, tag="tier.ready"):
    """Every endpoint of a tier may be asked."""

    tier: str
    ready: int
    replicas: int


class TierDegraded(Event, tag="tier.degraded"):
    """Some endpoints of a tier may not be asked."""

    tier: str
    ready: int
    replicas: int


class TierUnavailable(Event, tag="tier.unavailable"):
    """No endpoint of a tier may be asked."""

    tier: str
    ready: int
    replicas: int


class EndpointAdded(Event, tag="endpoint.added"):
    """An endpoint is there."""

    tier: str
    endpoint: str
    state: str


class EndpointRemoved(Event, tag="endpoint.removed"):
    """An endpoint is gone."""

    tier: str
    endpoint: str


class EndpointState(Event, tag="endpoint.state"):
    """An endpoint is pending, loading, ready, draining or failed now."""

    tier: str
    endpoint: str
    state: str
    restarts: int


class EndpointHealth(Event, tag="endpoint.health"):
    """An endpoint's health checks began to fail, or succeed again."""

    tier: str
    endpoint: str
    healthy: bool


class BreakerOpened(Event, tag="breaker.opened"):
    """An endpoint failed too often and is not asked for a while."""

    tier: str
    endpoint: str


class BreakerHalfOpened(Event, tag="breaker.half_open"):
    """An endpoint may be asked once, to see whether it is well again."""

    tier: str
    endpoint: str


class BreakerClosed(Event, tag="breaker.closed"):
    """An endpoint is well again."""

    tier: str
    endpoint: str


class FetchProgress(Event, tag="fetch.progress"):
    """A tier's model is being fetched."""

    tier: str
    fetched_bytes: int
    total_bytes: int | None


class CacheHit(Event, tag="cache.hit"):
    """A query was answered from the cache."""

    query: str


class CacheMissed(Event, tag="cache.miss"):
    """The cache had no answer to a query."""

    query: str


class CacheBypassed(Event, tag="cache.bypass"):
    """A query was not looked up."""

    query: str


class ConfigChanged(Event, tag="config.changed"):
    """Tiers or routes were added, removed or changed.

    Attributes:
        models: The names that clients may ask for now, at most 100.
    """

    models: tuple[str, ...]


class Started(Event, tag="router.started"):
    """A router is up."""

    version: str


class Stopping(Event, tag="router.stopping"):
    """A router begins to end; its connections will be closed."""

    version: str


AnyEvent: TypeAlias = (
    Received
    | Routed
    | Attempt
    | FirstToken
    | Progress
    | Completed
    | Failed
    | Cancelled
    | TierAdded
    | TierRemoved
    | TierChanged
    | TierReady
    | TierDegraded
    | TierUnavailable
    | EndpointAdded
    | EndpointRemoved
    | EndpointState
    | EndpointHealth
    | BreakerOpened
    | BreakerHalfOpened
    | BreakerClosed
    | FetchProgress
    | CacheHit
    | CacheMissed
    | CacheBypassed
    | ConfigChanged
    | Started
    | Stopping
)


KINDS: Final[dict[str, type[Event]]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(AnyEvent)
}
BREAKERS: Final[dict[str, type[BreakerOpened | BreakerHalfOpened | BreakerClosed]]] = {
    "open": BreakerOpened,
    "half-open": BreakerHalfOpened,
    "closed": BreakerClosed,
}
encode = msgspec.json.Encoder().encode
