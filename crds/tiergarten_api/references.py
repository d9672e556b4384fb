"""What tiers and routes say about each other. Pure; called by `manifests` and the operator.

What is an error here is refused by the operator too, with a condition instead of a message.
"""

from collections.abc import Collection, Iterator, Sequence

from tiergarten_api.problems import Finding
from tiergarten_api.v1alpha1 import ModelTier, RouteTier, TierRoute


def name_taken(tier: ModelTier, others: Sequence[ModelTier]) -> Finding | None:
    """Return what is wrong when another tier has the same model name and rank.

    Clients could not tell the two apart, and the router has no order for them.

    Args:
        tier: The tier to check.
        others: Tiers of its namespace that were there before.
    """
    wanted = (tier.spec.model.name, tier.spec.routing.rank)
    for other in others:
        if (other.spec.model.name, other.spec.routing.rank) == wanted:
            name, rank = wanted
            return Finding(
                ("spec", "routing", "rank"),
                f"is {rank}, as that of tier {other.metadata.name} with the same model name {name}",
                "give each tier of a model a rank of its own, cheapest first",
            )
    return None


def model_taken(route: TierRoute, others: Sequence[TierRoute]) -> Finding | None:
    """Return what is wrong when another route answers for the same model name.

    Args:
        route: The route to check.
        others: Routes of its namespace that were there before.
    """
    model = route.spec.model
    for other in others:
        if other.spec.model == model:
            message = f"is {model}, which route {other.metadata.name} answers for already"
            return Finding(("spec", "model"), message, "give one of the two another model name")
    return None


def missing_tiers(route: TierRoute, tiers: Collection[str]) -> Iterator[Finding]:
    """Yield a warning for each tier that a route names and nobody has.

    Args:
        route: The route to check.
        tiers: Names of the tiers of its namespace.
    """
    for index, tier in enumerate(route.spec.tiers):
        if tier.name not in tiers:
            known = ", ".join(sorted(tiers)) or "none"
            yield Finding(
                ("spec", "tiers", index, "name"),
                f"names the tier {tier.name}, which is not there (there are: {known})",
                "add the ModelTier, or correct the name",
                severity="warning",
            )


def unreached_tiers(route: TierRoute) -> Iterator[Finding]:
    """Yield a warning for each tier that no score leads to, with strategy Threshold.

    Such a tier still is a fallback, which is hardly what its maxDifficulty was written for.
    """
    if route.spec.strategy != "Threshold":
        return
    highest = -1
    before = ""
    for index, tier in enumerate(route.spec.tiers):
        difficulty = tier.max_difficulty or 0  # the rules of Threshold leave none out
        if difficulty <= highest:
            yield Finding(
                ("spec", "tiers", index, "maxDifficulty"),
                f"is {difficulty}, but {before} before it takes all up to {highest}: "
                f"no score leads to {tier.name}",
                "order tiers by maxDifficulty, the highest last",
                severity="warning",
            )
        elif _takes_all(tier):
            highest, before = difficulty, tier.name


def _takes_all(tier: RouteTier) -> bool:
    """Return whether a tier takes every query up to its maxDifficulty."""
    return tier.max_prompt_tokens is None and not tier.require_capabilities
