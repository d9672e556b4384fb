"""What a replica asks for, with the memory that its model's header says it needs."""

from typing import Any, Final

from tiergarten_api import memory
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_fetch.outcomes import Outcome

MIB: Final = memory.MIB
ROOM_PERCENT: Final = 115


def resources(tier: ModelTier, outcome: Outcome | None, *, on_device: bool) -> dict[str, Any]:
    """Return the container's resources.

    Args:
        tier: What it gives is taken as it is.
        outcome: What its fetch told of the model, if it is known.
        on_device: Whether the weights go to a GPU.
    """
    wanted = tier.spec.resources
    requests = {name: str(it) for name, it in ((wanted and wanted.requests) or {}).items()}
    limits = {name: str(it) for name, it in ((wanted and wanted.limits) or {}).items()}
    needed = request_bytes(tier, outcome, on_device=on_device)
    if needed is not None and "memory" not in requests and "memory" not in limits:
        requests["memory"] = quantity(needed)
        # Mapped weights are page cache: a limit would make a pod thrash rather than end.
        if tier.spec.runtime.load_mode == "none":
            limits["memory"] = quantity(needed * ROOM_PERCENT // 100)
    found = {"requests": requests, "limits": limits}
    return {name: values for name, values in found.items() if values}


def request_bytes(tier: ModelTier, outcome: Outcome | None, *, on_device: bool) -> int | None:
    """Return the memory that a replica needs, in bytes; None while the model is not known."""
    if outcome is None or outcome.header is None:
        return None
    needed = memory.estimate(outcome.header, tier.spec)
    return needed.total_bytes - (needed.weights_bytes if on_device else 0)


def quantity(count: int) -> str:
    """Return bytes as Kubernetes writes them, in whole MiB."""
    return f"{-(-count // MIB)}Mi"
