"""All that is known of tiers and routes at one moment, as frozen values.

A source (local processes, the Kubernetes API) yields whole snapshots and the fleet takes them over.
Nothing here knows where a snapshot came from.

Of several namespaces one is at home: its names stand bare, those of the others as `namespace/name`.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from tiergarten_api.v1alpha1 import ModelTier, TierRoute


class ReplicaState(StrEnum):
    """What a replica is doing; only a READY one is sent new queries."""

    PENDING = "pending"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of one llama-server.

    Attributes:
        id: Stable name without an address in it, for headers, logs and metrics: `q2-0`.
        url: Base URL such as `http://127.0.0.1:8080`; empty while it is not known.
        state: What the source knows of it.
        message: Why it is not ready, for people; empty when it is.
        restarts: How often it was started again.
        memory_bytes: Resident memory, or None when the source cannot tell.
    """

    id: str
    url: str
    state: ReplicaState = ReplicaState.READY
    message: str = ""
    restarts: int = 0
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class TierStatus:
    """What the source says of a tier: the operator's reason and message, and progress.

    Attributes:
        reason: One word of the operator's conditions: Serving, Loading, Fetching, NotGGUF, …
        message: A sentence that names the object and the cure.
        fetched_bytes: Bytes of the model that are here, None when nothing is fetched.
        total_bytes: Bytes of the whole model, None while unknown.
        memory_bytes: Estimated memory of one replica, None while unknown.
        quantization: Name from the GGUF header such as `Q4_K_M`, None while unknown.
    """

    reason: str = "Serving"
    message: str = ""
    fetched_bytes: int | None = None
    total_bytes: int | None = None
    memory_bytes: int | None = None
    quantization: str | None = None


@dataclass(frozen=True, slots=True)
class Tier:
    """One ModelTier, as the router needs it.

    Attributes:
        name: The resource's name, after its prefix: `q2`.
        model: The model name that clients may ask for, after its prefix; several tiers may share
            it.
        rank: Order of tiers, cheapest first.
        slots: Parallel sequences of one endpoint.
        slot_tokens: Context window of one slot, in tokens.
        cost: Price per million tokens in the operator's own unit, None when not given.
        capabilities: What the tier can do beyond text, such as `vision`.
        embeddings: Whether its servers were started for embeddings.
        latency_objective_seconds: Time to a whole answer that users may expect, or None.
        endpoints: Its replicas, ready or not.
        status: What the source says of it.
        api_key: Key of its llama-servers, empty when they want none.
        prefix: What stands before all names of its namespace: empty at home, else `namespace/`.
        digest: Another one when it may answer otherwise: by another model, runtime or rollout.
    """

    name: str
    model: str
    rank: int
    slots: int
    slot_tokens: int
    cost: float | None = None
    capabilities: frozenset[str] = frozenset()
    embeddings: bool = False
    latency_objective_seconds: float | None = None
    endpoints: tuple[Endpoint, ...] = ()
    status: TierStatus = field(default_factory=TierStatus)
    api_key: str = field(default="", repr=False)
    prefix: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every tier and every TierRoute at one moment.

    Attributes:
        tiers: No two have one name.
        routes: As their users wrote them, without a prefix.
        problems: What could not be read, a sentence each, for people.
        home: The namespace whose names stand bare; None when there is but one.
    """

    tiers: tuple[Tier, ...] = ()
    routes: tuple[TierRoute, ...] = ()
    problems: tuple[str, ...] = ()
    home: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How current a source's knowledge is.

    Attributes:
        reachable: Whether it hears from where its knowledge comes.
        age_seconds: Since when at least one part of it has heard nothing.
        message: Why it does not hear, for people; empty when it does.
        refused: Kind, namespace and name of each object that could not be read.
    """

    reachable: bool = True
    age_seconds: float = 0.0
    message: str = ""
    refused: tuple[tuple[str, str, str], ...] = ()


def current() -> Standing:
    """Return the standing of a source that itself makes what it tells of."""
    return Standing()


def prefix(namespace: str | None, home: str | None) -> str:
    """Return what stands before the names of a namespace."""
    return "" if home is None or namespace in {None, home} else f"{namespace}/"


def tier_of(
    resource: ModelTier,
    endpoints: Iterable[Endpoint] = (),
    status: TierStatus | None = None,
    api_key: str = "",
    prefix: str = "",
    revisions: Iterable[str] = (),
) -> Tier:
    """Return a ModelTier as the router needs it.

    Args:
        resource: The tier as its user wrote it.
        endpoints: Its replicas.
        status: What the source says of it; Serving by default.
        api_key: Key of its llama-servers.
        prefix: What stands before all names of its namespace.
        revisions: What its replicas run, each a text that changes with model or command line; for
            sources that know it better than the resource.
    """
    spec, routing = resource.spec, resource.spec.routing
    cost = routing.cost_per_million_tokens
    return Tier(
        name=prefix + resource.metadata.name,
        model=prefix + spec.model.name,
        rank=routing.rank,
        slots=spec.runtime.parallel,
        slot_tokens=spec.runtime.context_length // spec.runtime.parallel,
        cost=None if cost is None else float(cost),
        capabilities=frozenset(routing.capabilities or ()),
        embeddings=spec.runtime.embeddings,
        latency_objective_seconds=routing.latency_objective_seconds,
        endpoints=tuple(endpoints),
        status=status or TierStatus(),
        api_key=api_key,
        prefix=prefix,
        digest=_digest(resource, revisions),
    )


def _digest(resource: ModelTier, revisions: Iterable[str]) -> str:
    """Return what changes when the tier's answers may: never only when replicas come and go."""
    spec, status = resource.spec, resource.status
    told: list[object] = [spec.model.model_dump_json(), spec.runtime.model_dump_json()]
    told.append(sorted(set(revisions)))
    if status is not None:
        model = status.model
        told.append([status.revision, model and model.resolved_revision])
        told.append([(file.name, file.sha256) for file in (model and model.files) or ()])
        # While old and new replicas answer side by side, nobody knows whose answer is kept.
        told.append(status.observed_generation != resource.metadata.generation)
        told.append(status.updated_replicas != status.replicas)
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
