"""The status of a route: whether it makes sense, and whether its tiers are there."""

from collections.abc import Collection, Iterator, Sequence

from tiergarten_api import references
from tiergarten_api.problems import Finding, field_path
from tiergarten_api.v1alpha1 import TierRoute, TierRouteStatus
from tiergarten_operator.status.conditions import Verdict, timed


def of_route(
    route: TierRoute, older: Sequence[TierRoute], tiers: Collection[str], now: str
) -> TierRouteStatus:
    """Return the status of a route.

    Args:
        route: The route, with the status before.
        older: Routes of its namespace that were there before.
        tiers: Names of the tiers of its namespace.
        now: The time, as RFC 3339.
    """
    before = route.status.conditions if route.status and route.status.conditions else ()
    generation = route.metadata.generation
    conditions = timed(_verdicts(route, older, tiers), before, generation, now)
    return TierRouteStatus(observed_generation=generation, conditions=conditions)


def _verdicts(
    route: TierRoute, older: Sequence[TierRoute], tiers: Collection[str]
) -> Iterator[Verdict]:
    taken = references.model_taken(route, older)
    unreached = list(references.unreached_tiers(route))
    if taken is not None:
        yield Verdict("Accepted", holds=False, reason="NameTaken", message=_sentence(taken))
    elif unreached:
        message = "; ".join(map(_sentence, unreached))
        yield Verdict("Accepted", holds=True, reason="TierUnreachable", message=message)
    else:
        yield Verdict("Accepted", holds=True, reason="Valid", message="the route makes sense")
    missing = list(references.missing_tiers(route, tiers))
    if missing:
        message = "; ".join(map(_sentence, missing))
        yield Verdict("ResolvedRefs", holds=False, reason="TierNotFound", message=message)
    else:
        yield Verdict("ResolvedRefs", holds=True, reason="Resolved", message="all tiers are there")


def _sentence(finding: Finding) -> str:
    return f"{field_path(finding.path)}: {finding.message}; {finding.cure}"
