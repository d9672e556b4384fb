"""`/v1/route/explain`: what would become of a query, and why; nobody is asked for it."""

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import UNSET, Raw, Struct, UnsetType

from tiergarten_router import wire
from tiergarten_router.api import replies
from tiergarten_router.api.client import Client, Door, lines
from tiergarten_router.api.decode import decoder
from tiergarten_router.api.doors import Parts, door
from tiergarten_router.api.query import PARAMS, as_chat
from tiergarten_router.core import endings, query
from tiergarten_router.core.affinity import Claim
from tiergarten_router.core.breaker import Phase
from tiergarten_router.core.budget import Budget
from tiergarten_router.core.plan import Plan
from tiergarten_router.core.query import Query
from tiergarten_router.core.routes import Route
from tiergarten_router.errors import InvalidRequest
from tiergarten_router.fleet import Fleet, Group, Replica
from tiergarten_router.record import Record

MANY: Final = 64  # replicas of a tier that are shown


class ReplicaWhy(Struct):
    """A replica, and why it would be asked or not."""

    id: str
    taken: bool
    why: str
    breaker: str
    in_flight: int
    slots: int
    holds_prefix: bool | None


class TierWhy(Struct):
    """A tier that may answer, and why it would or not."""

    tier: str
    model: str
    taken: bool
    why: str
    cost_per_million_tokens: float | None
    slot_tokens: int
    waiting: int
    panic: bool
    replicas: list[ReplicaWhy]


class Refused(Struct):
    """A tier of the route that may not answer."""

    tier: str
    why: str


class Explained(Struct):
    """All that is decided of a query before anybody is asked."""

    model: str
    route: str
    origin: str
    strategy: str
    score: int
    reasons: tuple[str, ...]
    background: bool
    prompt_tokens: int
    conversation: bool
    candidates: list[TierWhy]
    refused: list[Refused]
    fallback_on: list[str]
    max_attempts: int
    first_token_seconds: float
    total_seconds: float
    retries_left: int
    error: str | None
    cache: str = "off"
    cache_key: str | None = None


class _Kind(Struct):
    messages: Raw | UnsetType = UNSET


def explain(parts: Parts, fleet: Fleet) -> Door:
    """Return the door of `/v1/route/explain`: it takes bodies of chat and of `/api/query`.

    Args:
        parts: What doors are made of.
        fleet: Who would be asked.
    """
    kind = decoder(_Kind)
    chat, question = decoder(wire.ChatBody), decoder(wire.QueryBody)

    def parsed(ident: str, body: bytes) -> Query:
        if kind(body).messages is not UNSET:
            return query.chat(ident, chat(body))
        try:
            return as_chat(ident, question(body))
        except InvalidRequest as error:
            error.param = PARAMS.get(error.param or "", error.param)
            raise

    async def serve(client: Client, body: bytes, ident: str) -> None:
        dispatcher = parts.dispatcher
        record = dispatcher.record(parsed(ident, body), client.header)  # never entered
        route, planned = dispatcher.plan(record)
        groups = {group.tier.name: group for group in fleet.groups()}
        homes = {
            name: home
            for name in groups
            if (home := fleet.homes.find(name, record.claim.prefix)) is not None
        }
        told = explained(record, route, planned, groups, homes, dispatcher.budget)
        told.cache, key = dispatcher.look(record, route)
        told.cache_key = None if key is None else key.hex()
        headers = replies.JSON + lines([(b"x-request-id", ident.encode())])
        client.reply(200, headers, wire.encode(told))

    return door(parts, serve)


def explained(
    record: Record,
    route: Route,
    planned: Plan,
    groups: Mapping[str, Group],
    homes: Mapping[str, str],
    budget: Budget,
) -> Explained:
    """Return what would become of a query.

    Args:
        record: The query's, planned.
        route: Its route.
        planned: Its plan.
        groups: The tiers by name.
        homes: By tier, the id of the replica that holds the conversation.
        budget: The retries that are left.
    """
    now, claim = record.clock(), record.claim
    tiers: list[TierWhy] = []
    open_ = True
    for candidate in planned.candidates:
        name = candidate.tier.name
        told = _tier(groups.get(name), candidate.reason, claim, homes.get(name), now)
        if told is not None:
            told.taken = open_ and told.taken
            open_ = open_ and not told.taken
            tiers.append(told)
    return Explained(
        route.model,
        route.name,
        route.origin.value,
        route.strategy.value,
        record.rated.score,
        record.rated.reasons,
        record.query.background,
        record.prompt_tokens,
        claim.sticky,
        tiers,
        [Refused(refused.tier.name, refused.reason) for refused in planned.refused],
        sorted(route.fallback_on),
        route.max_attempts,
        route.first_token_seconds,
        route.total_seconds,
        budget.allowed(now),
        None if planned.candidates else endings.unplanned(route, planned).message,
    )


def _tier(
    group: Group | None, reason: str, claim: Claim, home: str | None, now: float
) -> TierWhy | None:
    if group is None:
        return None
    chosen = group.choose(claim, (), home, now, 0.0)
    waits = chosen is None and group.may_wait((), now)
    why = reason
    if waits:
        why = f"{reason}; every slot is taken, {len(group.waiting)} wait"
    elif chosen is None:
        resting = group.rest(now)
        why = f"{reason}; all are full or loading" if resting else f"{reason}; none may be asked"
    tier, shown = group.tier, list(group.replicas.values())[:MANY]
    return TierWhy(
        tier.name,
        tier.model,
        chosen is not None or waits,
        why,
        tier.cost,
        tier.slot_tokens,
        len(group.waiting),
        group.panics(),
        list(_replicas(group, shown, chosen, home, now)),
    )


def _replicas(
    group: Group, shown: Iterable[Replica], chosen: Replica | None, home: str | None, now: float
) -> Iterable[ReplicaWhy]:
    for replica in shown:
        taken = replica is chosen
        yield ReplicaWhy(
            replica.id,
            taken,
            ("holds the conversation" if replica.id == home else "chosen")
            if taken
            else _why_not(group, replica, now),
            replica.breaker.phase.value,
            replica.in_flight,
            group.tier.slots,
            None if home is None else replica.id == home,
        )


def _why_not(group: Group, replica: Replica, now: float) -> str:
    if not replica.serves:
        return replica.endpoint.message or replica.message or replica.endpoint.state.value
    if replica.rests_until > now:
        return f"rests for {replica.rests_until - now:.0f} s"
    if replica.breaker.phase is not Phase.CLOSED and not group.panics():
        wait = max(0.0, replica.breaker.until - now)
        return f"breaker {replica.breaker.phase.value}, next probe in {wait:.0f} s"
    if replica.in_flight >= group.tier.slots:
        return "every slot is taken"
    return "another is less loaded or holds the conversation"
