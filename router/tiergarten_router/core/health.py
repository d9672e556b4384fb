"""What a health check of an endpoint found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Health:
    """What one check found.

    Attributes:
        healthy: Whether the endpoint would answer a query.
        latency_seconds: How long `/health` took.
        message: Why it is not healthy, without an address; empty when it is.
        processing: Queries that the endpoint works on, from whomever they came; None if not told.
        deferred: Queries that wait inside it; None if not told.
    """

    healthy: bool
    latency_seconds: float
    message: str = ""
    processing: int | None = None
    deferred: int | None = None
