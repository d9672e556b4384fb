"""What outlives a tier, or must go with it: its claim in the one case, its folder in the other.

A tier has our finalizer only if there is something to do at its end, so that the default mode never
waits for an operator.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from tiergarten_api.v1alpha1 import Condition, ModelTier
from tiergarten_fetch import layout
from tiergarten_operator import desired, events, names, observed
from tiergarten_operator.cluster import Cluster
from tiergarten_operator.errors import NotThere, OperatorError, Rejected
from tiergarten_operator.facts import CLAIM, JOB, TIER, Key
from tiergarten_operator.settings import Settings

log = structlog.get_logger()

GIVE_UP_SECONDS: Final = 600.0
AGAIN_SECONDS: Final = 10.0


@dataclass
class Finalizing:
    """Puts our finalizer on tiers, and does what it stands for.

    Attributes:
        cluster: The cluster.
        settings: The operator's.
        read: Returns a tier as it was seen last.
        now: The time of day.
    """

    cluster: Cluster
    settings: Settings
    read: Callable[[Key], ModelTier | None]
    now: Callable[[], datetime]

    async def mark(self, tier: ModelTier) -> None:
        """Put our finalizer on a tier that leaves something behind, and off any other."""
        wanted = _keeps_claim(tier) or _shares(tier)
        if wanted == (names.FINALIZER in tier.metadata.finalizers):
            return
        try:
            await self._set_finalizers(tier, [names.FINALIZER] if wanted else [])
        except Rejected as error:  # it is served all the same
            log.warning("finalizer_refused", reason=error.message)

    async def finish(self, tier: ModelTier) -> float | None:
        """Do what a deleted tier leaves to do, and let it go.

        Returns:
            After how many seconds to look again; None once it may go.

        Raises:
            OperatorError: It could not be let go now.
        """
        if names.FINALIZER not in tier.metadata.finalizers:
            return None
        if _shares(tier) and not await self._cleaned(tier):
            return AGAIN_SECONDS
        if _keeps_claim(tier):
            await self._free_claim(tier)
        await self._set_finalizers(tier, [])
        return None

    async def _free_claim(self, tier: ModelTier) -> None:
        """Let the claim go its own way."""
        namespace, name = tier.metadata.namespace or "", names.claim(tier)
        free = {"metadata": {"labels": dict.fromkeys(names.child_labels(tier))}}
        try:
            await self.cluster.merge(CLAIM, namespace, name, free)
        except NotThere:
            pass
        except Rejected as error:
            log.warning("claim_not_freed", claim=name, reason=error.message)

    async def _cleaned(self, tier: ModelTier) -> bool:
        """Return whether nothing is left to do for a tier's folder in a shared claim."""
        namespace = tier.metadata.namespace or ""
        if any(self._others(tier)):
            return True  # another tier serves from it
        if await self.cluster.get(CLAIM, namespace, str(names.mounted_claim(tier))) is None:
            return True
        ended = observed.ended(self.cluster.store.get(JOB, namespace, names.cleaner(tier)))
        if ended == "Complete":
            return True
        if ended == "Failed" or self._is_late(tier):
            await self._give_up(tier)
            return True
        try:
            await self.cluster.apply(desired.cleaning(tier, self.settings))
        except Rejected as error:  # the namespace goes too, say
            log.warning("cache_not_cleaned", tier=tier.metadata.name, reason=error.message)
        return False

    def _others(self, tier: ModelTier) -> Iterator[str]:
        """Yield the tiers that have their model in the same folder of the same claim."""
        namespace = tier.metadata.namespace or ""
        for name in self.cluster.store.names(TIER, namespace):
            other = self.read(Key(namespace, name))
            if other is None or other.metadata.uid == tier.metadata.uid:
                continue
            going = other.metadata.deletion_timestamp is not None
            same = names.mounted_claim(other) == names.mounted_claim(tier)
            if same and not going and layout.key(other.spec.model) == layout.key(tier.spec.model):
                yield other.metadata.name

    def _is_late(self, tier: ModelTier) -> bool:
        since = datetime.fromisoformat(tier.metadata.deletion_timestamp or "")
        return (self.now() - since).total_seconds() > GIVE_UP_SECONDS

    async def _give_up(self, tier: ModelTier) -> None:
        claim, folder = names.mounted_claim(tier), f"models/{layout.key(tier.spec.model)}"
        said = Condition(
            type="Cleaned",
            status="False",
            reason="CacheLeft",
            message=f"claim {claim}: {folder} could not be removed; remove it by hand",
            last_transition_time=tier.metadata.deletion_timestamp or "",
        )
        now = self.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        for event in events.of_tier(tier, [said], now):
            try:
                await self.cluster.report(event)
            except OperatorError as error:
                log.warning("event_lost", reason=str(error))

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


def _keeps_claim(tier: ModelTier) -> bool:
    own = names.mounted_claim(tier) == names.claim(tier)
    return own and tier.spec.cache.deletion_policy == "Retain"


def _shares(tier: ModelTier) -> bool:
    return names.way(tier) is names.Way.JOB and tier.spec.cache.mode == "Shared"
