"""ModelTier and TierRoute of `tiergarten.dev/v1alpha1`, the one contract of all parts.

The models are the source of the CRD YAML in `crds/` and accept and refuse what it does. What
depends on a change of an object, or on other objects, is left to the API server and the operator.
"""

from tiergarten_api.v1alpha1.base import ListOf, Rule, Schema
from tiergarten_api.v1alpha1.cache import CacheSpec
from tiergarten_api.v1alpha1.meta import Condition, ObjectMeta, OwnerReference, SecretKeyRef
from tiergarten_api.v1alpha1.model_tier import (
    AutoscalingSpec,
    DisruptionSpec,
    ModelTier,
    ModelTierSpec,
    ResourcesSpec,
    RolloutSpec,
    RoutingSpec,
    SchedulingSpec,
)
from tiergarten_api.v1alpha1.runtime import (
    OWNED_FLAGS,
    EnvSource,
    EnvVar,
    ImagePullSecret,
    KvCache,
    RuntimeSpec,
)
from tiergarten_api.v1alpha1.source import (
    FileSpec,
    HttpSource,
    HuggingFaceSource,
    ImageSource,
    ModelSpec,
    Source,
    VolumeSource,
)
from tiergarten_api.v1alpha1.tier_route import (
    FallbackCause,
    FallbackSpec,
    RouteTier,
    TierRoute,
    TierRouteSpec,
    TierRouteStatus,
    TimeoutsSpec,
)
from tiergarten_api.v1alpha1.tier_status import (
    CacheStatus,
    EndpointStatus,
    FileStatus,
    MemoryStatus,
    ModelStatus,
    ModelTierStatus,
)

__all__ = [
    "OWNED_FLAGS",
    "AutoscalingSpec",
    "CacheSpec",
    "CacheStatus",
    "Condition",
    "DisruptionSpec",
    "EndpointStatus",
    "EnvSource",
    "EnvVar",
    "FallbackCause",
    "FallbackSpec",
    "FileSpec",
    "FileStatus",
    "HttpSource",
    "HuggingFaceSource",
    "ImagePullSecret",
    "ImageSource",
    "KvCache",
    "ListOf",
    "MemoryStatus",
    "ModelSpec",
    "ModelStatus",
    "ModelTier",
    "ModelTierSpec",
    "ModelTierStatus",
    "ObjectMeta",
    "OwnerReference",
    "ResourcesSpec",
    "RolloutSpec",
    "RouteTier",
    "RoutingSpec",
    "Rule",
    "RuntimeSpec",
    "SchedulingSpec",
    "Schema",
    "SecretKeyRef",
    "Source",
    "TierRoute",
    "TierRouteSpec",
    "TierRouteStatus",
    "TimeoutsSpec",
    "VolumeSource",
]
