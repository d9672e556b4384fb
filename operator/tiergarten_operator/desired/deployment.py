"""The Deployment of a tier's llama-servers.

`spec.replicas` is not in it: a field manager of its own applies that, and an autoscaler may take it
over. Nothing of `spec.routing` and no number of replicas reaches the pod template, so that neither
restarts a pod.
"""

from typing import Any, Final

from tiergarten_api import labels
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_fetch import outcomes
from tiergarten_operator import names
from tiergarten_operator.desired import fetching, server
from tiergarten_operator.desired.stamp import annotated, child
from tiergarten_operator.facts import DEPLOYMENT, Facts, Fetch, Manifest, Ref
from tiergarten_operator.settings import Settings

SETTLE_SECONDS: Final = 5
ONE_NODE: Final = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})


def build(facts: Facts, fetch: Fetch, settings: Settings) -> Manifest:
    """Return the Deployment.

    Args:
        facts: What is known of the tier.
        fetch: What its fetch told of the model.
        settings: The operator's.
    """
    tier = facts.tier
    template = _template(facts, fetch, settings)
    annotations = {
        labels.TEMPLATE_HASH: names.digest(template),
        labels.MODEL_HASH: names.model_hash(tier),
    }
    if fetch.outcome is not None:
        annotations[names.OUTCOME] = outcomes.line(fetch.outcome)
    return annotated(child(DEPLOYMENT, tier), annotations) | {
        "spec": {
            "selector": {"matchLabels": names.selector(tier)},
            "strategy": _strategy(facts),
            "minReadySeconds": SETTLE_SECONDS,
            "progressDeadlineSeconds": max(
                tier.spec.rollout.startup_timeout_seconds + settings.pull_seconds,
                SETTLE_SECONDS + 1,
            ),
            "revisionHistoryLimit": 3,
            "template": template,
        }
    }


def _template(facts: Facts, fetch: Fetch, settings: Settings) -> dict[str, Any]:
    """Return the pod template, which a new operator's image for the first step does not change.

    What checks a model's folder comes from the operator's own version, and an upgrade of the
    operator must restart no pod: as long as nothing else is new, the image that is there stays.
    """
    live = facts.live.get(Ref(DEPLOYMENT.name, facts.tier.metadata.name))
    before = _fetch_image(live) if live is not None else None
    if live is not None and before is not None:
        pinned = settings.model_copy(update={"fetch_image": before})
        same = server.template(facts.tier, fetch.outcome, pinned)
        if live["metadata"].get("annotations", {}).get(labels.TEMPLATE_HASH) == names.digest(same):
            return same
    return server.template(facts.tier, fetch.outcome, settings)


def _fetch_image(live: Manifest) -> str | None:
    steps = live["spec"]["template"]["spec"].get("initContainers") or ()
    return next((str(it["image"]) for it in steps if it["name"] == fetching.NAME), None)


def most_replicas(tier: ModelTier) -> int:
    """Return how many replicas a tier may have at most."""
    scaling = tier.spec.autoscaling
    return tier.spec.replicas if scaling is None else scaling.max_replicas


def _strategy(facts: Facts) -> dict[str, Any]:
    wanted = facts.tier.spec.rollout.strategy
    cramped = server.has_device(facts.tier) or _on_one_node(facts)
    if wanted == "Recreate" or (wanted == "Auto" and cramped and most_replicas(facts.tier) <= 1):
        return {"type": "Recreate"}
    # With no spare GPU, or a claim for one node, a new pod may not find a place before an old goes.
    surge, unavailable = (0, 1) if wanted == "Auto" and cramped else (1, 0)
    update = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {"type": "RollingUpdate", "rollingUpdate": update}


def _on_one_node(facts: Facts) -> bool:
    """Return whether the model's claim can be mounted by one node at a time."""
    claim = names.mounted_claim(facts.tier)
    if claim is None:
        return False
    if claim == names.claim(facts.tier):
        return facts.tier.spec.cache.access_mode in ONE_NODE
    other = facts.claims.get(claim)
    modes = other["spec"].get("accessModes", ()) if other else ()
    return bool(modes) and ONE_NODE.issuperset(modes)
