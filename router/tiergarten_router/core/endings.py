"""What a client is told when no tier has answered, and whether the next one is asked at all."""

from typing import Final

from tiergarten_router.core.plan import Plan
from tiergarten_router.core.routes import Route
from tiergarten_router.errors import (
    AttemptFailed,
    ContextExceeded,
    ContextOverflow,
    NoReadyTier,
    Refused,
    RouterError,
    Saturated,
    UnknownModel,
    Unsupported,
)

NAMES_SHOWN: Final = 20  # of models, in the error for an unknown one
RETRY_SECONDS: Final = 5


def cause(failure: RouterError) -> str:
    """Return the name that `TierRoute.spec.fallback.on` has for a failure."""
    if isinstance(failure, AttemptFailed):
        return failure.cause
    return "Saturated" if isinstance(failure, Saturated) else "NoEndpoints"


def goes_on(failure: RouterError, route: Route, attempts: int) -> bool:
    """Return whether the route's next tier follows a failure, after so many attempts."""
    if isinstance(failure, Refused) and not isinstance(failure, ContextOverflow):
        return False
    tries_left = attempts < route.max_attempts or not isinstance(failure, AttemptFailed)
    return tries_left and cause(failure) in route.fallback_on


def final(failure: RouterError, route: Route) -> RouterError:
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


def unplanned(route: Route, planned: Plan) -> RouterError:
    """Return what the client is told when the route has no tier to try."""
    if planned.too_long:
        return _too_long(route, 0, planned.largest_prompt_tokens)
    if not planned.refused:
        return final(NoReadyTier(""), route)
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


def unknown(model: str, names: tuple[str, ...]) -> UnknownModel:
    """Return what a client is told that asks for a model which nobody has."""
    shown = ", ".join(names[:NAMES_SHOWN]) or "none yet"
    return UnknownModel(
        f"The model {model[:100]!r} does not exist; there are: {shown}.", param="model"
    )
