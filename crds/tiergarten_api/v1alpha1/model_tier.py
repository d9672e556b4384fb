"""ModelTier: one quantised model, served by a number of identical llama-servers."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tiergarten_api.labels import API_VERSION
from tiergarten_api.v1alpha1.base import Int32, ListOf, Rule, Schema, without_nulls
from tiergarten_api.v1alpha1.cache import CacheSpec
from tiergarten_api.v1alpha1.meta import ObjectMeta
from tiergarten_api.v1alpha1.quantity import Amount, Price
from tiergarten_api.v1alpha1.runtime import RuntimeSpec
from tiergarten_api.v1alpha1.source import ModelSpec
from tiergarten_api.v1alpha1.tier_status import ModelTierStatus

NULLS = BeforeValidator(without_nulls)

NAME_LENGTH = 52
NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"


class ResourcesSpec(Schema):
    """Container resources of one replica."""

    requests: Annotated[dict[str, Amount], Field(max_length=16), NULLS] | None = Field(
        None,
        description="What a replica is guaranteed, by resource name: cpu, memory, a vendor's GPU.",
    )
    limits: Annotated[dict[str, Amount], Field(max_length=16), NULLS] | None = Field(
        None, description="What a replica may use at most, by resource name."
    )


class AutoscalingSpec(Schema):
    """A HorizontalPodAutoscaler for the tier."""

    rules = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas must not exceed maxReplicas",
            check=lambda scaling: scaling.min_replicas <= scaling.max_replicas,
            cure="raise maxReplicas or lower minReplicas",
        ),
    )

    min_replicas: Int32 = Field(
        1, ge=1, le=1000, description="Fewest replicas. To scale to nothing, use suspend."
    )
    max_replicas: Int32 = Field(ge=1, le=1000, description="Most replicas.")
    metric: Literal["BusySlots", "CPU"] = Field(
        "BusySlots",
        description="What is measured: BusySlots needs a custom-metrics adapter and follows load "
        "best; CPU needs metrics-server only.",
    )
    target: Int32 = Field(
        70,
        ge=1,
        le=100,
        description="Wanted use of that metric, in percent. The default leaves room for a burst "
        "while a new replica loads.",
    )
    scale_down_stabilization_seconds: Int32 = Field(
        300,
        ge=0,
        le=3600,
        description="How long load must stay low before replicas go, in seconds. Loading a model "
        "is dear, so the default waits five minutes.",
    )


class RolloutSpec(Schema):
    """How replicas are replaced when what runs changes."""

    strategy: Literal["Auto", "RollingUpdate", "Recreate"] = Field(
        "Auto",
        description="Auto recreates when the pods hold GPUs or a claim that one node at a time may "
        "mount, and else starts a new replica before an old one goes.",
    )
    startup_timeout_seconds: Int32 = Field(
        600,
        ge=10,
        le=7200,
        description="Longest time that a replica may load its model, in seconds. Ten minutes hold "
        "for tens of GiB from a slow disk.",
    )
    drain_timeout_seconds: Int32 = Field(
        120,
        ge=0,
        le=3600,
        description="Longest time that a stopping replica finishes its answers, in seconds. Two "
        "minutes hold for a long answer on CPUs.",
    )


class DisruptionSpec(Schema):
    """What a node drain or upgrade may take away."""

    max_unavailable: Int32 = Field(
        1,
        ge=0,
        le=1000,
        description="Replicas that may be away at once by a voluntary disruption. One lets node "
        "drains go on and keeps the others serving.",
    )


class SchedulingSpec(Schema):
    """Where pods run; copied into pod and fetch Job as they are."""

    node_selector: (
        Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32), NULLS]
        | None
    ) = Field(None, description="Labels that a node must have.")
    tolerations: (
        Annotated[tuple[dict[str, Any], ...], Field(max_length=32), ListOf("atomic")] | None
    ) = Field(None, description="Taints of nodes that are put up with.")
    affinity: dict[str, Any] | None = Field(
        None, description="Rules that draw pods to nodes or to each other."
    )
    topology_spread_constraints: (
        Annotated[tuple[dict[str, Any], ...], Field(max_length=8), ListOf("atomic")] | None
    ) = Field(None, description="How pods are spread over zones or nodes.")
    priority_class_name: str | None = Field(
        None, max_length=253, description="PriorityClass of the pods."
    )
    runtime_class_name: str | None = Field(
        None, max_length=253, description="RuntimeClass of the pods, such as nvidia."
    )


class RoutingSpec(Schema):
    """Facts about the tier that the router's policy uses. Changing them never restarts a pod."""

    rank: Int32 = Field(
        100,
        ge=0,
        le=1000,
        description="Order of tiers, cheapest and weakest first. The default leaves room on both "
        "sides.",
    )
    cost_per_million_tokens: Price | None = Field(
        None,
        description="Price of a million tokens in your own currency; quote fractions. Left out: "
        "the tier's cost is unknown.",
    )
    latency_objective_seconds: Int32 | None = Field(
        None,
        ge=1,
        le=3600,
        description="Time to a whole answer that users may expect, in seconds; the router shows it "
        "beside what it measured. Left out: no promise.",
    )
    capabilities: (
        Annotated[
            tuple[
                Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")],
                ...,
            ],
            Field(max_length=32),
            ListOf("set"),
        ]
        | None
    ) = Field(
        None,
        description="What the tier can do beyond text, such as vision or tools; routes may "
        "require it.",
    )


class ModelTierSpec(Schema):
    """What is wanted of a tier."""

    rules = (
        Rule(
            "!has(self.autoscaling) || !has(self.suspend) || !self.suspend",
            "suspend and autoscaling exclude each other",
            check=lambda spec: spec.autoscaling is None or not spec.suspend,
            cure="take one of the two out",
        ),
        Rule(
            '!has(self.cache) || self.cache.mode != "Image" || has(self.model.source.image)',
            "cache mode Image needs an image source",
            check=lambda spec: spec.cache.mode != "Image" or bool(spec.model.source.image),
            cure="set spec.model.source.image, or another mode",
            field_path=".cache.mode",
        ),
        Rule(
            '!has(self.model.source.image) || !has(self.cache) || self.cache.mode == "Image"',
            "an image source is mounted by the kubelet and is not cached",
            check=lambda spec: spec.model.source.image is None or spec.cache.mode == "Image",
            cure="set spec.cache.mode to Image",
            field_path=".cache.mode",
        ),
    )

    model: ModelSpec = Field(description="The model: its name for clients, source and files.")
    # A default is checked against the rules before nested defaults fill it, so it names what they
    # read; likewise for runtime.
    cache: CacheSpec = Field(
        CacheSpec(),
        json_schema_extra={"default": {"mode": "PerTier"}},
        description="Where fetched files are kept. Volume and image sources need no cache.",
    )
    runtime: RuntimeSpec = Field(
        RuntimeSpec(),
        json_schema_extra={
            "default": {"contextLength": 8192, "parallel": 4, "flashAttention": "auto"}
        },
        description="How llama-server runs. A change restarts the tier's pods.",
    )
    resources: ResourcesSpec | None = Field(
        None,
        description="Container resources. Memory left out is computed from the GGUF header.",
    )
    replicas: Int32 = Field(
        1,
        ge=0,
        le=1000,
        description="Identical llama-servers. Autoscaling takes over when it is set.",
    )
    suspend: bool | None = Field(None, description="Scale to nothing and keep the cache.")
    autoscaling: AutoscalingSpec | None = Field(
        None, description="Follow the load instead of replicas. Left out: a fixed number."
    )
    rollout: RolloutSpec = Field(
        RolloutSpec(),
        json_schema_extra={"default": {}},
        description="How replicas are replaced when what runs changes.",
    )
    disruption: DisruptionSpec = Field(
        DisruptionSpec(),
        json_schema_extra={"default": {}},
        description="What a node drain or upgrade may take away.",
    )
    scheduling: SchedulingSpec | None = Field(
        None, description="Where pods run; copied into pod and fetch Job as it is."
    )
    routing: RoutingSpec = Field(
        RoutingSpec(),
        json_schema_extra={"default": {}},
        description="Facts about the tier that the router's policy uses. Changing them never "
        "restarts a pod.",
    )


class ModelTier(Schema):
    """One quantised model, served by a number of identical llama-servers."""

    rules = (
        Rule(
            f"self.metadata.name.size() <= {NAME_LENGTH}",
            "name must be at most 52 characters, so that child names and label values fit in 63",
            check=lambda tier: len(tier.metadata.name) <= NAME_LENGTH,
            cure="shorten metadata.name",
        ),
        Rule(
            f"self.metadata.name.matches('{NAME_PATTERN}')",
            "name must be a DNS label that starts with a letter (lower-case letters, digits and "
            "'-'), because the tier's Service has the same name",
            check=lambda tier: _is_dns_label(tier.metadata.name),
            cure="write for example q4-k instead of q4.k",
        ),
    )

    api_version: Literal["tiergarten.dev/v1alpha1"] = API_VERSION
    kind: Literal["ModelTier"] = "ModelTier"
    metadata: ObjectMeta
    spec: ModelTierSpec = Field(description="What is wanted of the tier.")
    status: ModelTierStatus | None = Field(
        None, description="What the operator saw last. Written by the operator only."
    )


def _is_dns_label(name: str) -> bool:
    # What metadata allows is a row of such labels with dots between, so two questions are left.
    return name[0].isalpha() and "." not in name
