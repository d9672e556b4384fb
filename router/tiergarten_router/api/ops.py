"""`/healthz`, `/readyz` and `/metrics`: for those who run the router.

The same doors stand on the router's port and on one of their own, which a thread serves (`aside`);
so what they read may change meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from tiergarten_router.core.snapshot import Standing
from tiergarten_router.fleet import Fleet
from tiergarten_router.metrics import Metrics


class Alive(BaseModel):
    """The router's event loop turns."""

    status: str = Field("ok", description="ok, or stuck: nothing turned for too long.")


class SourceView(BaseModel):
    """How current the knowledge of tiers is; it stays in force while its source is away."""

    reachable: bool = Field(
        description="Whether the Kubernetes API is heard; always in local mode."
    )
    age_seconds: float = Field(description="Since when some part of it has told nothing.")
    message: str = Field(description="Why it is not heard; empty when it is.")


class Readiness(BaseModel):
    """Whether queries should be sent here."""

    status: str = Field(description="ready, or why not: starting or stopping.")
    tiers_ready: list[str]
    tiers_waiting: list[str] = Field(description="Tiers with no replica that may be asked.")
    source: SourceView


@dataclass(frozen=True, slots=True)
class State:
    """What the doors tell of.

    Attributes:
        fleet: Whose tiers are told.
        metrics: What `/metrics` shows.
        phase: Whether queries should be sent here: starting, ready or stopping.
        alive: Whether its event loop turns.
        standing: How current the source's knowledge is.
    """

    fleet: Fleet
    metrics: Metrics
    phase: Callable[[], str]
    alive: Callable[[], bool]
    standing: Callable[[], Standing]


def router(state: State) -> APIRouter:
    """Return the routes of this module."""
    api = APIRouter(tags=["operations"])

    @api.get("/healthz", summary="Whether the router is alive")
    async def healthz(response: Response) -> Alive:
        if state.alive():
            return Alive()
        response.status_code = 503
        return Alive(status="stuck")

    @api.get("/readyz", summary="Whether queries should be sent here")
    async def readyz(response: Response) -> Readiness:
        fleet, status = state.fleet, state.phase()
        names = [group.tier.name for group in fleet.groups()]
        if status != "ready":
            response.status_code = 503
        told = state.standing()
        return Readiness(
            status=status,
            tiers_ready=[name for name in names if fleet.ready(name)],
            tiers_waiting=[name for name in names if not fleet.ready(name)],
            source=SourceView(
                reachable=told.reachable,
                age_seconds=round(told.age_seconds, 1),
                message=told.message,
            ),
        )

    @api.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
    async def prometheus() -> Response:
        text = state.metrics.render()
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return api
