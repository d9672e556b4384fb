"""Builds every child that a tier must have; values in, manifests out.

`reconcile` asks `build` and applies what it gets, whole. A child's builder is the module that is
named after it, and the only place that knows what such a child looks like.
"""

from collections.abc import Iterator

from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_fetch.outcomes import Outcome
from tiergarten_operator import names
from tiergarten_operator.desired import (
    account,
    api_key,
    autoscaler,
    budget,
    claim,
    deployment,
    job,
    memory,
    policy,
    server,
    service,
)
from tiergarten_operator.desired import (
    cleaning as cleaner,
)
from tiergarten_operator.desired.stamp import stamped
from tiergarten_operator.facts import CLAIM, DEPLOYMENT, Desired, Facts, Fetch, Manifest, Ref
from tiergarten_operator.settings import Settings

__all__ = ["build", "cleaning", "memory_request", "replicas"]


def build(facts: Facts, fetch: Fetch, settings: Settings) -> Desired:
    """Return what must exist for an accepted tier.

    Args:
        facts: What is known of it.
        fetch: Where its model is. Until it is verified there is no Deployment, and one of the
            model before is left as it is.
        settings: The operator's.
    """
    children = tuple(stamped(child) for child in _children(facts, fetch, settings))
    return Desired(children, _kept(facts.tier, fetch))


def cleaning(tier: ModelTier, settings: Settings) -> Manifest:
    """Return the Job that takes a deleted tier's folder out of a shared claim."""
    return cleaner.build(tier, settings)


def replicas(tier: ModelTier) -> int | None:
    """Return how many replicas a tier's Deployment must have; None if its autoscaler decides."""
    if tier.spec.suspend:
        return 0
    return None if tier.spec.autoscaling is not None else tier.spec.replicas


def memory_request(tier: ModelTier, outcome: Outcome | None) -> str:
    """Return the memory request of a tier's pods, as a quantity; empty if there is none."""
    found = memory.resources(tier, outcome, on_device=server.has_device(tier))
    return str(found.get("requests", {}).get("memory", ""))


def _children(facts: Facts, fetch: Fetch, settings: Settings) -> Iterator[Manifest]:
    tier = facts.tier
    there = Ref(DEPLOYMENT.name, tier.metadata.name) in facts.live
    serves = _serves(tier, fetch)
    yield account.build(tier)
    yield from api_key.build(tier, settings)
    yield from claim.build(facts, fetch, settings)
    if not serves:
        yield from job.build(facts, settings)
    if serves:
        yield deployment.build(facts, fetch, settings)
    yield service.build(tier)
    yield from budget.build(tier)
    if serves or there:
        yield from autoscaler.build(tier)
    yield from policy.build(tier, settings)


def _serves(tier: ModelTier, fetch: Fetch) -> bool:
    """Return whether there may be pods: the model is there, or they fetch it themselves."""
    return fetch.verified or names.way(tier) is names.Way.PODS


def _kept(tier: ModelTier, fetch: Fetch) -> frozenset[Ref]:
    """Return what is not built anew and stays: the Job that is done, pods of the model before."""
    kept = {Ref("Job", names.job(tier))}
    if not _serves(tier, fetch):
        kept.add(Ref(DEPLOYMENT.name, tier.metadata.name))
    if tier.spec.cache.deletion_policy == "Retain":
        kept.add(Ref(CLAIM.name, names.claim(tier)))
    return frozenset(kept)
