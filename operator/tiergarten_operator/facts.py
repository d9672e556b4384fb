"""The values that the operator's pure parts hand each other; no decision is made here.

`reconcile` gathers `Facts`; `acceptance`, `observed`, `desired` and `status` read them. A live
object stays the mapping that the API server sent: only `observed` looks into it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tiergarten_api.labels import API_VERSION, MODEL_TIERS, TIER_ROUTES
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_fetch.outcomes import Outcome
from tiergarten_fetch.results import Progress

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What a reconcile is about.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        kind: `ModelTier` or `TierRoute`.
    """

    namespace: str
    name: str
    kind: str = "ModelTier"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object, as it stands in manifests and in URLs."""

    api_version: str
    name: str
    plural: str


TIER: Final = Kind(API_VERSION, "ModelTier", MODEL_TIERS)
ROUTE: Final = Kind(API_VERSION, "TierRoute", TIER_ROUTES)
DEPLOYMENT: Final = Kind("apps/v1", "Deployment", "deployments")
JOB: Final = Kind("batch/v1", "Job", "jobs")
CLAIM: Final = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
SERVICE: Final = Kind("v1", "Service", "services")
BUDGET: Final = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
AUTOSCALER: Final = Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
ACCOUNT: Final = Kind("v1", "ServiceAccount", "serviceaccounts")
POLICY: Final = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
SECRET: Final = Kind("v1", "Secret", "secrets")
POD: Final = Kind("v1", "Pod", "pods")

CHILDREN: Final = (ACCOUNT, CLAIM, JOB, DEPLOYMENT, SERVICE, BUDGET, AUTOSCALER, POLICY)
"""Kinds that a tier owns and that are watched, in the order in which they are applied."""
KINDS: Final = {kind.name: kind for kind in (TIER, ROUTE, *CHILDREN, SECRET, POD)}


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """A child within its namespace."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def ref(manifest: Manifest) -> Ref:
    """Return what a manifest is called within its namespace."""
    return Ref(manifest["kind"], manifest["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known about a tier when it is reconciled.

    Attributes:
        tier: The tier itself.
        live: Its children as they are, by name.
        pods: Its pods, of server and fetch.
        secrets: The keys of each Secret that the tier names; None for one that is not there.
        claims: Each claim of somebody else's that the tier names; None for one that is not there.
        older: Tiers of the namespace that were there before it.
        progress: How far each file is that is being fetched.
    """

    tier: ModelTier
    live: Mapping[Ref, Manifest] = field(default_factory=dict)
    pods: tuple[Manifest, ...] = ()
    secrets: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    claims: Mapping[str, Manifest | None] = field(default_factory=dict)
    older: tuple[ModelTier, ...] = ()
    progress: tuple[Progress, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason of a condition, with a sentence that names object and cure."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """Where the model is.

    Attributes:
        reason: A reason of the condition ModelAvailable.
        message: For people.
        outcome: What the fetch told of the model, if it is known.
        progress: How far each file is, while they come.
    """

    reason: str
    message: str
    outcome: Outcome | None = None
    progress: tuple[Progress, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether pods may serve the model."""
        return self.reason == VERIFIED


VERIFIED: Final = "Verified"


@dataclass(frozen=True, slots=True)
class Serving:
    """How far the Deployment is.

    Attributes:
        exists: Whether there is one.
        replicas: Pods that it has.
        ready: Pods that answer.
        updated: Pods of the newest template.
        minimum: Whether as many pods answer as must.
        settled: Whether nothing is left to roll out.
        deadline: Why a roll-out is late, empty while it is not.
        quota: Why no more pods may be made, empty while they may.
        unmounted: What a node says that cannot mount the tier's image, empty while it can.
        scaling: Why the autoscaler does nothing, empty while it works.
        trouble: What ails the pods that do not answer, if anything.
        pods: How many pods there are, of any template, but for those that stop.
        stopping: How many pods are on their way out.
        revision: Hash of the newest pod template, empty without a Deployment.
    """

    exists: bool = False
    replicas: int = 0
    ready: int = 0
    updated: int = 0
    minimum: bool = False
    settled: bool = False
    deadline: str = ""
    quota: str = ""
    unmounted: str = ""
    scaling: str = ""
    trouble: Finding | None = None
    pods: int = 0
    stopping: int = 0
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Desired:
    """What must exist.

    Attributes:
        children: Manifests, in the order in which they are applied.
        kept: Children that are right as they are: neither applied nor pruned.
    """

    children: tuple[Manifest, ...] = ()
    kept: frozenset[Ref] = frozenset()
