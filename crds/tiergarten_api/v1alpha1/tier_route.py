"""TierRoute: how requests for one model name are spread over tiers."""

from typing import Annotated, Literal

from pydantic import Field

from tiergarten_api.labels import API_VERSION
from tiergarten_api.v1alpha1.base import Int32, Int64, ListOf, Rule, Schema
from tiergarten_api.v1alpha1.meta import Conditions, ObjectMeta
from tiergarten_api.v1alpha1.source import MODEL_NAME_PATTERN

INT32_MAX = 2**31 - 1

FallbackCause = Literal[
    "NoEndpoints",
    "ConnectFailure",
    "ServerError",
    "Saturated",
    "Timeout",
    "ContextOverflow",
    "LowConfidence",
]


class RouteTier(Schema):
    """One tier of a route and when it may answer."""

    name: str = Field(max_length=52, description="Name of a ModelTier in the route's namespace.")
    max_difficulty: Int32 | None = Field(
        None,
        ge=0,
        le=100,
        description="Highest score that the tier answers, from 0 to 100; strategy Threshold needs "
        "it on every tier.",
    )
    weight: Int32 = Field(
        1,
        ge=0,
        le=1000,
        description="Share of requests with strategy Weighted, relative to the other tiers; 0 "
        "leaves the tier to the fallback.",
    )
    max_prompt_tokens: Int32 | None = Field(
        None,
        ge=1,
        le=INT32_MAX,
        description="Longest prompt that the tier is given, in tokens. Left out: what its slot "
        "holds.",
    )
    require_capabilities: (
        Annotated[
            tuple[Annotated[str, Field(max_length=63)], ...], Field(max_length=16), ListOf("set")
        ]
        | None
    ) = Field(
        None,
        description="Only requests that need all of these go to the tier, such as vision.",
    )


class FallbackSpec(Schema):
    """When the next tier is tried."""

    on: Annotated[tuple[FallbackCause, ...], Field(max_length=8), ListOf("set")] = Field(
        ("NoEndpoints", "ConnectFailure", "ServerError", "Saturated", "ContextOverflow"),
        description='Failures after which the next tier is tried. Quote the key: "on". The default '
        "holds those that another tier can mend at no risk; add Timeout where slow is worse than "
        "twice the work.",
    )
    max_attempts: Int32 = Field(
        3,
        ge=1,
        le=8,
        description="Most attempts for one request over all tiers. More would make an outage "
        "worse.",
    )


class TimeoutsSpec(Schema):
    """How long a request may take."""

    first_token_seconds: Int32 = Field(
        60,
        ge=1,
        le=3600,
        description="Longest wait for the first token, in seconds. A minute holds for a long "
        "prompt on CPUs.",
    )
    total_seconds: Int32 = Field(
        600,
        ge=1,
        le=86_400,
        description="Longest time for a whole answer with all attempts, in seconds. Ten minutes "
        "hold for a long answer on CPUs.",
    )


class TierRouteSpec(Schema):
    """Which tiers answer for a model name, and in which order."""

    rules = (
        Rule(
            'self.strategy != "Threshold" || self.tiers.all(t, has(t.maxDifficulty))',
            "strategy Threshold needs maxDifficulty on every tier",
            check=lambda route: (
                route.strategy != "Threshold"
                or all(tier.max_difficulty is not None for tier in route.tiers)
            ),
            cure="give every tier a maxDifficulty, the last one 100",
        ),
        Rule(
            'self.strategy != "Threshold" || self.tiers.exists(t, t.maxDifficulty == 100)',
            "with strategy Threshold one tier must take difficulty 100",
            check=lambda route: (
                route.strategy != "Threshold"
                or any(tier.max_difficulty == 100 for tier in route.tiers)  # noqa: PLR2004 # the top of the scale
            ),
            cure="set maxDifficulty: 100 on the last tier",
        ),
    )

    model: str = Field(
        max_length=96, pattern=MODEL_NAME_PATTERN, description="Model name that clients send."
    )
    strategy: Literal["Ordered", "Threshold", "Weighted", "Cascade"] = Field(
        "Ordered",
        description="Ordered: the first tier that can answer. Threshold: the first whose "
        "maxDifficulty is not below the query's score. Weighted: by chance, by weight. Cascade: "
        "the first answers, and where it is unsure the next one does.",
    )
    tiers: Annotated[
        tuple[RouteTier, ...], Field(min_length=1, max_length=16), ListOf("map", "name")
    ] = Field(
        description="In order of preference; the rest of the list is the fallback chain.",
    )
    fallback: FallbackSpec = Field(
        FallbackSpec(),
        json_schema_extra={"default": {}},
        description="When the next tier is tried.",
    )
    timeouts: TimeoutsSpec = Field(
        TimeoutsSpec(),
        json_schema_extra={"default": {}},
        description="How long a request may take.",
    )


class TierRouteStatus(Schema):
    """What the operator found when it checked the route's references."""

    observed_generation: Int64 | None = Field(
        None, description="The metadata.generation that this status is about."
    )
    conditions: Conditions | None = Field(
        None, description="Accepted: the route makes sense. ResolvedRefs: its tiers exist."
    )


class TierRoute(Schema):
    """How requests for one model name are spread over tiers."""

    api_version: Literal["tiergarten.dev/v1alpha1"] = API_VERSION
    kind: Literal["TierRoute"] = "TierRoute"
    metadata: ObjectMeta
    spec: TierRouteSpec = Field(description="Which tiers answer for a model name, and when.")
    status: TierRouteStatus | None = Field(
        None, description="What the operator found. Written by the operator only."
    )
