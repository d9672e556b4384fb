"""What outlives a tier, or must go with it: its claim in the one case, its folder in the other.

A tier has our finalizer only if there is something to do at its end, so that the default mode never
waits for an operator.
"""

from dataclasses import dataclass

import structlog

from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator import names
from tiergarten_operator.cluster import Cluster
from tiergarten_operator.errors import ApiError, NotThere, Rejected
from tiergarten_operator.facts import CLAIM, TIER

log = structlog.get_logger()


@dataclass
class Finalizing:
    """Puts our finalizer on tiers, and does what it stands for.

    Attributes:
        cluster: The cluster.
    """

    cluster: Cluster

    async def mark(self, tier: ModelTier) -> None:
        """Put our finalizer on a tier whose claim outlives it, and off any other."""
        wanted = tier.spec.cache.deletion_policy == "Retain" and names.mounted_claim(
            tier
        ) == names.claim(tier)
        if wanted != (names.FINALIZER in tier.metadata.finalizers):
            await self._set_finalizers(tier, [names.FINALIZER] if wanted else [])

    async def finish(self, tier: ModelTier) -> None:
        """Let the claim of a deleted tier go its own way, and the tier too."""
        if names.FINALIZER not in tier.metadata.finalizers:
            return
        namespace, name = tier.metadata.namespace or "", names.claim(tier)
        free = {"metadata": {"labels": dict.fromkeys(names.child_labels(tier))}}
        try:
            await self.cluster.merge(CLAIM, namespace, name, free)
        except NotThere:
            pass
        except Rejected as error:
            log.warning("claim_not_freed", claim=name, reason=error.message)
        await self._set_finalizers(tier, [])

    async def _set_finalizers(self, tier: ModelTier, wanted: list[str]) -> None:
        others = [it for it in tier.metadata.finalizers if it != names.FINALIZER]
        change = {
            "metadata": {
                "finalizers": [*others, *wanted],
                "resourceVersion": tier.metadata.resource_version,
            }
        }
        try:
            await self.cluster.merge(
                TIER, tier.metadata.namespace or "", tier.metadata.name, change
            )
        except NotThere:
            return
        except ApiError as error:
            if isinstance(error, Rejected):
                log.warning("finalizer_refused", reason=error.message)
                return
            raise
