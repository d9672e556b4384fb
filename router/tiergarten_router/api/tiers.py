"""`/v1/tiers` and `/v1/models`: what there is, how it is doing, and what may be asked for."""

from collections.abc import Callable, Iterable

from fastapi import APIRouter
from pydantic import BaseModel, Field

from tiergarten_router.core.routes import Origin, Route
from tiergarten_router.errors import NotFound, UnknownModel
from tiergarten_router.fleet import Average, Fleet, Group, Replica


class ReplicaView(BaseModel):
    """One replica of a tier."""

    id: str
    state: str = Field(description="pending, loading, ready, draining or failed.")
    healthy: bool = Field(description="Whether it is asked: ready, and its checks succeed.")
    message: str = Field(description="Why it is not ready or healthy; empty when it is.")
    restarts: int
    last_check_seconds_ago: float | None
    check_ms: float = Field(description="How long the last health check took.")
    latency_ms: float | None = Field(description="Moving average of whole answers.")
    time_to_first_token_ms: float | None
    tokens_per_second: float | None
    memory_bytes: int | None
    in_flight: int = Field(description="Queries of this router that are open there.")
    slots_busy: int | None = Field(description="Slots at work by its own count.")
    slots_total: int
    deferred: int | None = Field(description="Queries that wait inside it.")
    breaker: str
    answered: int
    failed: int


class Latency(BaseModel):
    """The time to a whole answer: what was promised, what is measured."""

    objective_seconds: float | None
    measured_seconds: float | None
    met: bool | None = Field(description="Null while one of the two is not known.")


class TierView(BaseModel):
    """One tier."""

    name: str
    model: str
    rank: int
    ready: bool
    reason: str = Field(description="The operator's word for its state: Serving, Loading, …")
    message: str
    quantization: str | None
    fetched_bytes: int | None
    total_bytes: int | None
    memory_bytes: int | None = Field(description="Estimated need of one replica.")
    slot_tokens: int = Field(description="Context window of one slot, in tokens.")
    slots_busy: int
    slots_total: int
    waiting: int = Field(description="Queries in this router's queue for the tier.")
    cost_per_million_tokens: float | None
    capabilities: list[str]
    latency: Latency
    replicas: list[ReplicaView]


class RouteView(BaseModel):
    """One name that clients may ask for."""

    model: str
    name: str
    origin: str
    strategy: str
    tiers: list[str]
    generation: int
    problems: list[str]


class TierList(BaseModel):
    """All tiers and routes."""

    synced: bool = Field(description="Whether the tiers have been read at all.")
    tiers: list[TierView]
    routes: list[RouteView]
    problems: list[str]


class Model(BaseModel):
    """A name that clients may ask for, in OpenAI's shape."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "tiergarten"
    origin: str
    tiers: list[str]


class ModelList(BaseModel):
    """All names, in OpenAI's shape."""

    object: str = "list"
    data: list[Model]


def router(fleet: Fleet, clock: Callable[[], float], created: int) -> APIRouter:
    """Return the routes of this module.

    Args:
        fleet: What is shown.
        clock: The fleet's clock.
        created: Unix time that models are said to be of; the router's own start.
    """
    api = APIRouter()

    @api.get("/v1/tiers", tags=["tiers"], summary="Tiers, replicas and routes")
    async def tiers() -> TierList:
        routes = fleet.routes
        return TierList(
            synced=fleet.synced,
            tiers=[_tier(group, clock()) for group in fleet.groups()],
            routes=[_route(routes.by_model[name]) for name in routes.names],
            problems=list(routes.problems),
        )

    @api.get("/v1/tiers/{name:path}", tags=["tiers"], summary="One tier")
    async def tier(name: str) -> TierView:
        groups = {group.tier.name: group for group in fleet.groups()}
        if name not in groups:
            shown = ", ".join(groups) or "none yet"
            raise NotFound(f"There is no tier {name[:64]!r}; there are: {shown}.", param="name")
        return _tier(groups[name], clock())

    @api.get("/v1/models", tags=["openai"], summary="Names that may be asked for")
    async def models() -> ModelList:
        found = fleet.routes
        return ModelList(data=[_model(found.by_model[name], created) for name in found.names])

    @api.get("/v1/models/{name:path}", tags=["openai"], summary="One name")
    async def model(name: str) -> Model:
        route = fleet.routes.find(name)
        if route is None:
            raise UnknownModel(f"The model {name[:96]!r} does not exist.", param="model")
        return _model(route, created)

    return api


def _tier(group: Group, now: float) -> TierView:
    tier, replicas = group.tier, list(group.replicas.values())
    serving = [replica for replica in replicas if replica.serves]
    return TierView(
        name=tier.name,
        model=tier.model,
        rank=tier.rank,
        ready=bool(serving),
        reason=tier.status.reason,
        message=tier.status.message,
        quantization=tier.status.quantization,
        fetched_bytes=tier.status.fetched_bytes,
        total_bytes=tier.status.total_bytes,
        memory_bytes=tier.status.memory_bytes,
        slot_tokens=tier.slot_tokens,
        slots_busy=sum(min(replica.in_flight, tier.slots) for replica in serving),
        slots_total=tier.slots * len(serving),
        waiting=len(group.waiting),
        cost_per_million_tokens=tier.cost,
        capabilities=sorted(tier.capabilities),
        latency=_latency(tier.latency_objective_seconds, replicas),
        replicas=[_replica(replica, tier.slots, now) for replica in replicas],
    )


def _latency(objective: float | None, replicas: Iterable[Replica]) -> Latency:
    known = [replica.latency_seconds.value for replica in replicas]
    seconds = [value for value in known if value is not None]
    measured = sum(seconds) / len(seconds) if seconds else None
    met = None if objective is None or measured is None else measured <= objective
    return Latency(objective_seconds=objective, measured_seconds=measured, met=met)


def _replica(replica: Replica, slots: int, now: float) -> ReplicaView:
    endpoint = replica.endpoint
    return ReplicaView(
        id=endpoint.id,
        state=endpoint.state.value,
        healthy=replica.serves,
        message=endpoint.message or replica.message,
        restarts=endpoint.restarts,
        last_check_seconds_ago=None if replica.checked_at is None else now - replica.checked_at,
        check_ms=1000 * replica.check_seconds,
        latency_ms=_milliseconds(replica.latency_seconds),
        time_to_first_token_ms=_milliseconds(replica.first_token_seconds),
        tokens_per_second=replica.tokens_per_second.value,
        memory_bytes=endpoint.memory_bytes,
        in_flight=replica.in_flight,
        slots_busy=replica.busy,
        slots_total=slots,
        deferred=replica.deferred,
        breaker=replica.breaker.phase.value,
        answered=replica.answered,
        failed=replica.failed,
    )


def _milliseconds(average: Average) -> float | None:
    return None if average.value is None else round(1000 * average.value, 1)


def _route(route: Route) -> RouteView:
    return RouteView(
        model=route.model,
        name=route.name,
        origin=route.origin.value,
        strategy=route.strategy.value,
        tiers=[routed.tier.name for routed in route.tiers],
        generation=route.generation,
        problems=list(route.problems),
    )


def _model(route: Route, created: int) -> Model:
    tiers = [routed.tier.name for routed in route.tiers]
    return Model(id=route.model, created=created, origin=Origin(route.origin).value, tiers=tiers)
