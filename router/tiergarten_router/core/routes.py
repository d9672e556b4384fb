"""Which tiers answer to which model name, compiled once from each snapshot.

A client may name a TierRoute's model, a tier's model, or a tier itself; a snapshot without any
TierRoute also has the built-in route `auto` over all of its tiers. `plan` says which tier of a
route a query goes to.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from tiergarten_api.v1alpha1 import TierRoute
from tiergarten_router.core.snapshot import Snapshot, Tier, prefix

AUTO: Final = "auto"

# What a TierRoute gets by default, and the two causes after which another tier can do no harm:
# a built-in route has nobody who could have said that a cheaper failure is preferred.
BUILT_IN_FALLBACK: Final = frozenset(
    {"NoEndpoints", "ConnectFailure", "ServerError", "Saturated", "Timeout", "ContextOverflow"}
)
BUILT_IN_ATTEMPTS: Final = 3
BUILT_IN_FIRST_TOKEN_SECONDS: Final = 60
BUILT_IN_TOTAL_SECONDS: Final = 600


class Strategy(StrEnum):
    """How a route orders its tiers; the names are those of `TierRoute.spec.strategy`."""

    ORDERED = "Ordered"
    THRESHOLD = "Threshold"
    WEIGHTED = "Weighted"
    CASCADE = "Cascade"


class Origin(StrEnum):
    """Where a route comes from."""

    ROUTE = "route"  # a TierRoute
    BUILT_IN = "built-in"  # `auto`
    MODEL = "model"  # the model name of one or more tiers
    TIER = "tier"  # a tier's own name: pins it


@dataclass(frozen=True, slots=True)
class RoutedTier:
    """A tier as one route uses it.

    Attributes:
        tier: The tier.
        max_difficulty: Highest score that strategy Threshold starts here.
        weight: Share of queries that strategy Weighted starts here, against the others' weights.
        max_prompt_tokens: Longest prompt that the route sends here, None for what the slot holds.
        reserved_for: Capabilities that a query must need to be sent here; empty for any query.
    """

    tier: Tier
    max_difficulty: int = 100
    weight: int = 1
    max_prompt_tokens: int | None = None
    reserved_for: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Route:
    """Ordered tiers and the policy of one model name.

    Attributes:
        model: The name that clients send.
        name: The TierRoute's own name; the model name for the others.
        origin: Where it comes from.
        strategy: How its tiers are ordered for a query.
        tiers: The tiers that exist, in the order of the route.
        fallback_on: Causes after which the next tier follows: `AttemptFailed.cause`, NoEndpoints.
        max_attempts: Most attempts of one query, the first included.
        first_token_seconds: Longest wait for the first content.
        total_seconds: Longest time for a whole answer, retries included.
        generation: The TierRoute's generation, 0 for the others.
        problems: What is wrong with it, a sentence each, for people.
    """

    model: str
    name: str
    origin: Origin
    strategy: Strategy
    tiers: tuple[RoutedTier, ...]
    fallback_on: frozenset[str] = BUILT_IN_FALLBACK
    max_attempts: int = BUILT_IN_ATTEMPTS
    first_token_seconds: float = BUILT_IN_FIRST_TOKEN_SECONDS
    total_seconds: float = BUILT_IN_TOTAL_SECONDS
    generation: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Routes:
    """Every model name that clients may send.

    Attributes:
        by_model: The route of each name.
        names: The names, sorted: what an unknown one is answered with.
        problems: What is wrong with routes that have no name left, a sentence each.
    """

    by_model: Mapping[str, Route]
    names: tuple[str, ...]
    problems: tuple[str, ...] = ()

    def find(self, model: str) -> Route | None:
        """Return the route of a name, None when nothing answers to it."""
        return self.by_model.get(model)


NO_ROUTES: Final = Routes(MappingProxyType({}), ())


def compile_routes(snapshot: Snapshot) -> Routes:
    """Return the routes of a snapshot.

    A TierRoute's model goes before a tier's model of the same name, and that before a tier's own
    name. Of two TierRoutes with one model the first by name has it. A route leads to tiers of its
    own namespace only; a name at home goes before one of another namespace.
    """
    found: dict[str, Route] = {}
    problems = list(snapshot.problems)
    for before, (tiers, resources) in _rooms(snapshot).items():
        room = _names(tiers, before, built_in=not resources)
        problems += _claim(room, resources, before, tiers)
        for model in room.keys() & found.keys():
            problems.append(
                f"Namespace {before.rstrip('/')}: {model} is a name of the router's own namespace;"
                " give one of them another name."
            )
        found = room | found
    return Routes(MappingProxyType(found), tuple(sorted(found)), tuple(problems))


Room: TypeAlias = tuple[list[Tier], list[TierRoute]]


def _rooms(snapshot: Snapshot) -> dict[str, Room]:
    """Return tiers, by rank, and routes, by name, of each namespace by its prefix; home first."""
    rooms: dict[str, Room] = {}
    for tier in _ranked(snapshot.tiers):
        rooms.setdefault(tier.prefix, ([], []))[0].append(tier)
    for resource in sorted(snapshot.routes, key=lambda resource: resource.metadata.name):
        before = prefix(resource.metadata.namespace, snapshot.home)
        rooms.setdefault(before, ([], []))[1].append(resource)
    return dict(sorted(rooms.items()))


def _names(tiers: Sequence[Tier], before: str, *, built_in: bool) -> dict[str, Route]:
    """Return the routes that a namespace's tiers have without a TierRoute."""
    found: dict[str, Route] = {tier.name: _pin(tier) for tier in tiers}
    shared: dict[str, list[Tier]] = {}
    for tier in tiers:
        shared.setdefault(tier.model, []).append(tier)
    for model, members in shared.items():
        found[model] = _spread(model, Origin.MODEL, members)
    chat = [tier for tier in tiers if not tier.embeddings]
    if built_in and chat:
        found[before + AUTO] = _spread(before + AUTO, Origin.BUILT_IN, chat)
    return found


def _claim(
    found: dict[str, Route], resources: Iterable[TierRoute], before: str, tiers: Iterable[Tier]
) -> list[str]:
    """Give a namespace's TierRoutes their models; return the problems of those that are late."""
    named = {tier.name.removeprefix(before): tier for tier in tiers}
    owners: dict[str, str] = {}
    problems = []
    for resource in resources:
        model, name = resource.spec.model, before + resource.metadata.name
        if model in owners:
            problems.append(
                f"TierRoute {name}: spec.model {model} belongs to TierRoute {owners[model]};"
                " give one of them another model."
            )
            continue
        owners[model] = name
        found[before + model] = _route(resource, before, named)
    return problems


def _route(resource: TierRoute, before: str, tiers: Mapping[str, Tier]) -> Route:
    spec, name = resource.spec, before + resource.metadata.name
    strategy = Strategy(spec.strategy)
    problems: list[str] = []
    routed: list[RoutedTier] = []
    for index, entry in enumerate(spec.tiers):
        field = f"TierRoute {name}: spec.tiers[{index}].name {entry.name}"
        tier = tiers.get(entry.name)
        if tier is None:
            problems.append(f"{field} is no ModelTier; create it or take it out of the route.")
            continue
        reserved = frozenset(entry.require_capabilities or ())
        if not reserved <= tier.capabilities:
            problems.append(
                f"{field} is kept for {', '.join(sorted(reserved - tier.capabilities))}, which the"
                " tier does not declare, so it is never used; add it to the tier's"
                " spec.routing.capabilities."
            )
        most = 100 if entry.max_difficulty is None else entry.max_difficulty
        if strategy is Strategy.THRESHOLD and any(most <= r.max_difficulty for r in routed):
            problems.append(
                f"{field} is never tried first: a tier before it takes every difficulty up to"
                f" {most} already; order the tiers by maxDifficulty."
            )
        routed.append(RoutedTier(tier, most, entry.weight, entry.max_prompt_tokens, reserved))
    return Route(
        before + spec.model,
        name,
        Origin.ROUTE,
        strategy,
        tuple(routed),
        frozenset(map(str, spec.fallback.on)),
        spec.fallback.max_attempts,
        spec.timeouts.first_token_seconds,
        spec.timeouts.total_seconds,
        resource.metadata.generation or 0,
        tuple(problems),
    )


def _spread(model: str, origin: Origin, tiers: Sequence[Tier]) -> Route:
    """Return a route over tiers by rank, with the difficulties shared out evenly."""
    routed = [
        RoutedTier(tier, round(100 * (index + 1) / len(tiers))) for index, tier in enumerate(tiers)
    ]
    return Route(model, model, origin, Strategy.THRESHOLD, tuple(routed))


def _pin(tier: Tier) -> Route:
    return Route(tier.name, tier.name, Origin.TIER, Strategy.ORDERED, (RoutedTier(tier),))


def _ranked(tiers: Iterable[Tier]) -> list[Tier]:
    return sorted(tiers, key=lambda tier: (tier.rank, tier.name))
