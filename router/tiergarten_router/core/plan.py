"""Which tiers of a route may answer a query, in the order in which they are tried, and why.

Only facts that hold for a whole snapshot count here. Whether a tier has an endpoint that is ready
and not busy is seen when it is tried, so that nothing lies between that look and the lease.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from msgspec import Struct

from tiergarten_router.core import context
from tiergarten_router.core.routes import Route, RoutedTier, Strategy
from tiergarten_router.core.snapshot import Tier


class Demand(Struct, frozen=True):
    """What a query asks of a tier.

    Attributes:
        score: Its difficulty, 0 to 100.
        prompt_tokens: About how long its prompt is.
        answer_tokens: The longest answer that was asked for, 0 when not said.
        background: Whether a chat UI asks for itself and not for a person.
        embeddings: Whether vectors are asked for, not text.
        needs: Capabilities beyond text that a tier must have.
    """

    score: int
    prompt_tokens: int
    answer_tokens: int = 0
    background: bool = False
    embeddings: bool = False
    needs: frozenset[str] = frozenset()


class Candidate(Struct, frozen=True):
    """A tier to try, and why it stands where it stands."""

    tier: Tier
    reason: str


Candidates: TypeAlias = tuple[Candidate, ...]
Order: TypeAlias = Callable[[Sequence[RoutedTier], Demand, float], Candidates]


class Obstacle(StrEnum):
    """The kind of a refusal."""

    KIND = "kind"  # embeddings against text
    CAPABILITY = "capability"  # the query needs what the tier cannot do
    RESERVED = "reserved"  # the route keeps the tier for queries that need more
    PROMPT_LIMIT = "prompt-limit"  # the route's own limit
    CONTEXT = "context"  # the slot's size


@dataclass(frozen=True, slots=True)
class Refusal:
    """A tier of the route that may not answer.

    Attributes:
        tier: The tier.
        obstacle: The kind of reason.
        reason: The reason with its figures.
        limit_tokens: The longest prompt that it would have taken, 0 when length is not the reason.
    """

    tier: Tier
    obstacle: Obstacle
    reason: str
    limit_tokens: int = 0


class Plan(Struct, frozen=True):
    """All tiers of a route, each of them either a candidate or refused.

    Attributes:
        candidates: The tiers to try, in order.
        refused: The others, in the order of the route.
    """

    candidates: tuple[Candidate, ...]
    refused: tuple[Refusal, ...] = ()

    @property
    def largest_prompt_tokens(self) -> int:
        """The longest prompt that a tier refused for its length takes, 0 if none was."""
        return max((refusal.limit_tokens for refusal in self.refused), default=0)

    @property
    def too_long(self) -> bool:
        """Whether the prompt's length is all that keeps some tier from answering."""
        return not self.candidates and self.largest_prompt_tokens > 0


def candidates(route: Route, demand: Demand, draw: float = 0.0) -> Plan:
    """Return the tiers to try for a query.

    Of tiers that all are too small for the prompt, the largest is tried nevertheless while the
    estimate of its length may be wrong: the endpoint's own tokenizer then has the last word.

    Args:
        route: The route of the model that was asked for.
        demand: What the query asks of a tier.
        draw: A random number from [0, 1), for strategy Weighted.

    Returns:
        Every tier of the route, as a candidate or refused.
    """
    admitted: list[RoutedTier] = []
    refused: list[Refusal] = []
    for routed in route.tiers:
        refusal = _refusal(routed, demand)
        if refusal is None:
            admitted.append(routed)
        else:
            refused.append(refusal)
    if not admitted:
        return _roomiest(refused, demand)
    if demand.background:
        admitted.sort(key=_rank)
        return Plan(_listed(admitted, "background"), tuple(refused))
    return Plan(_ORDERS[route.strategy](admitted, demand, draw), tuple(refused))


def _refusal(routed: RoutedTier, demand: Demand) -> Refusal | None:
    """Return why a tier may not answer; the reasons that no shorter prompt mends come first."""
    tier = routed.tier
    if tier.embeddings is not demand.embeddings:
        kind = "embeddings" if tier.embeddings else "text"
        return Refusal(tier, Obstacle.KIND, f"serves {kind} only")
    if not demand.needs <= tier.capabilities:
        missing = ", ".join(sorted(demand.needs - tier.capabilities))
        return Refusal(tier, Obstacle.CAPABILITY, f"lacks {missing}")
    if not routed.reserved_for <= demand.needs:
        kept = ", ".join(sorted(routed.reserved_for))
        return Refusal(tier, Obstacle.RESERVED, f"kept for {kept}")
    return _shortage(routed, demand)


def _shortage(routed: RoutedTier, demand: Demand) -> Refusal | None:
    tier, most, prompt = routed.tier, routed.max_prompt_tokens, demand.prompt_tokens
    if most is not None and prompt > most:
        return Refusal(tier, Obstacle.PROMPT_LIMIT, f"prompt {prompt} > {most}", most)
    slot = tier.slot_tokens
    room = 0 if demand.embeddings else context.room(demand.answer_tokens, slot)
    if prompt + room > slot:
        return Refusal(tier, Obstacle.CONTEXT, f"context {prompt} + {room} > {slot}", slot)
    return None


def _roomiest(refused: Sequence[Refusal], demand: Demand) -> Plan:
    """Return the largest of the tiers whose slots are too small, if it may yet hold the prompt."""
    short = [refusal for refusal in refused if refusal.obstacle is Obstacle.CONTEXT]
    largest = max((refusal.limit_tokens for refusal in short), default=0)
    if not context.may_fit(demand.prompt_tokens, largest):
        return Plan((), tuple(refused))
    tried = [refusal for refusal in short if refusal.limit_tokens == largest]
    return Plan(
        tuple(Candidate(refusal.tier, f"largest context {largest}") for refusal in tried),
        tuple(refusal for refusal in refused if refusal not in tried),
    )


def _ordered(admitted: Sequence[RoutedTier], _demand: Demand, _draw: float) -> Candidates:
    return _listed(admitted, "order")


def _cascade(admitted: Sequence[RoutedTier], _demand: Demand, _draw: float) -> Candidates:
    return _listed(admitted, "cascade")


def _threshold(admitted: Sequence[RoutedTier], demand: Demand, _draw: float) -> Candidates:
    """Start at the first tier that takes the score; then upwards, and at last downwards.

    A tier that takes the score but is too small for the prompt leaves the start to the next one
    above it, or to the strongest that is left.
    """
    score, start = demand.score, 0
    last = len(admitted) - 1
    while start < last and admitted[start].max_difficulty < score:
        start += 1
    most = admitted[start].max_difficulty
    reason = f"score {score} <= {most}" if score <= most else f"score {score} > {most}, none above"
    order = [Candidate(admitted[start].tier, reason)]
    order += [Candidate(routed.tier, "stronger") for routed in admitted[start + 1 :]]
    order += [Candidate(routed.tier, "weaker") for routed in reversed(admitted[:start])]
    return tuple(order)


def _weighted(admitted: Sequence[RoutedTier], _demand: Demand, draw: float) -> Candidates:
    """Start at the tier on whose stretch of all weights the draw falls; the others in order."""
    point = draw * sum(routed.weight for routed in admitted)
    start = 0
    for index, routed in enumerate(admitted):
        if routed.weight:
            start = index  # also when rounding puts the point behind the last weight
            if point < routed.weight:
                break
        point -= routed.weight
    first = admitted[start]
    others = (*admitted[:start], *admitted[start + 1 :])
    return Candidate(first.tier, f"weight {first.weight}"), *_listed(others, "order")


def _listed(admitted: Sequence[RoutedTier], reason: str) -> Candidates:
    return tuple([Candidate(routed.tier, reason) for routed in admitted])


def _rank(routed: RoutedTier) -> tuple[int, str]:
    return routed.tier.rank, routed.tier.name


_ORDERS: Final[Mapping[Strategy, Order]] = {
    Strategy.ORDERED: _ordered,
    Strategy.THRESHOLD: _threshold,
    Strategy.WEIGHTED: _weighted,
    Strategy.CASCADE: _cascade,
}
