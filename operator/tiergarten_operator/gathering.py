"""Gathers all that is known of a tier before anything is decided about it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import structlog
from pydantic import ValidationError

from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator import acceptance, names, observed, ownership
from tiergarten_operator.cluster import Asking, Cluster
from tiergarten_operator.facts import CLAIM, SECRET, TIER, Facts, Key, Manifest, Ref
from tiergarten_operator.ownership import Whose
from tiergarten_operator.settings import Settings

log = structlog.get_logger()


@dataclass
class Gathering:
    """Reads tiers, and what belongs to them.

    Attributes:
        cluster: The cluster.
        settings: The operator's.
        asking: Asks fetches how far they are.
    """

    cluster: Cluster
    settings: Settings
    asking: Asking
    _parsed: dict[Key, tuple[str, ModelTier]] = field(default_factory=dict)

    def tier(self, key: Key) -> ModelTier | None:
        """Return a tier as it was seen last; None if it is gone or cannot be read."""
        raw = self.cluster.store.get(TIER, key.namespace, key.name)
        if raw is None:
            self._parsed.pop(key, None)
            return None
        version = raw["metadata"].get("resourceVersion", "")
        known = self._parsed.get(key)
        if known is not None and known[0] == version:
            return known[1]
        try:
            tier = ModelTier.model_validate(raw)
        except ValidationError as error:  # a definition newer than this operator let it through
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            log.warning("tier_unreadable", tier=key.name, field=where, reason=first["msg"])
            return None
        self._parsed[key] = (version, tier)
        return tier

    async def facts(self, tier: ModelTier) -> Facts:
        """Return all that is known of a tier; Secrets and others' claims are asked for.

        Raises:
            OperatorError: The API server did not answer, or refuses to.
        """
        namespace = tier.metadata.namespace or ""
        store = self.cluster.store
        key = Key(namespace, tier.metadata.name)
        secrets, claims = acceptance.secrets(tier), acceptance.claims(tier)
        keys = await asyncio.gather(*(self.cluster.secret_keys(namespace, it) for it in secrets))
        found = await asyncio.gather(*(self.cluster.get(CLAIM, namespace, it) for it in claims))
        live = self._children(tier)
        if self.settings.llama_api_key is not None:
            name = names.secret(tier)
            own = await self.cluster.get(SECRET, namespace, name)
            live |= {} if own is None else {Ref(SECRET.name, name): own}
        facts = Facts(
            tier=tier,
            live=live,
            pods=tuple(store.pods(key)),
            secrets=dict(zip(secrets, keys, strict=True)),
            claims=dict(zip(claims, found, strict=True)),
            older=tuple(self._older(tier)),
        )
        return replace(facts, progress=await self.asking.of(key, observed.asks(facts)))

    def seen_now(self, facts: Facts) -> Facts:
        """Return facts with the children as they are after our own writes."""
        return replace(facts, live=self._children(facts.tier))

    def _children(self, tier: ModelTier) -> dict[Ref, Manifest]:
        """Return a tier's own children.

        What a tier of the same name had before it says nothing of this one: its Job may be done,
        with a claim that is about to go.
        """
        key = Key(tier.metadata.namespace or "", tier.metadata.name)
        found = self.cluster.store.children(key)
        return {child: it for child, it in found if ownership.of(it, tier) is Whose.OURS}

    def _older(self, tier: ModelTier) -> Iterator[ModelTier]:
        namespace = tier.metadata.namespace or ""
        for raw in self.cluster.store.tiers_of_model(namespace, tier.spec.model.name):
            if age(raw["metadata"]) < _age_of(tier):
                other = self.tier(Key(namespace, raw["metadata"]["name"]))
                if other is not None:
                    yield other


def age(metadata: Manifest) -> tuple[str, str]:
    """Return what sorts objects of a kind, oldest first."""
    return str(metadata.get("creationTimestamp", "")), metadata["name"]


def _age_of(tier: ModelTier) -> tuple[str, str]:
    return tier.metadata.creation_timestamp or "", tier.metadata.name
