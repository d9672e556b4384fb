"""Checks a tier against what only the cluster knows: Secrets, claims, other tiers, live objects.

What the tier's own text can get wrong is refused by the API server; the rest is found here, before
anything is built. A tier that is not accepted keeps what it has: nothing is applied or pruned.
"""

from collections.abc import Iterator

from tiergarten_api import extras, references
from tiergarten_api.v1alpha1 import ModelTier, SecretKeyRef
from tiergarten_operator import names
from tiergarten_operator.facts import CLAIM, Facts, Finding, Manifest, Ref
from tiergarten_operator.settings import Settings

MISSING = frozenset({"SecretMissing", "ClaimMissing"})
"""Reasons that pass without an event, so the tier is looked at again soon."""


def refusal(facts: Facts, settings: Settings) -> Finding | None:
    """Return why a tier cannot be served, or None if it can.

    Args:
        facts: What is known of it.
        settings: The operator's.
    """
    checks = (_options, _mode, _name, _secrets, _claims, _own_claim)
    return next((it for check in checks for it in check(facts, settings)), None)


def secret_keys(tier: ModelTier) -> Iterator[SecretKeyRef]:
    """Yield the keys of Secrets that a tier names."""
    source = tier.spec.model.source
    if source.hugging_face is not None and source.hugging_face.token_secret_ref is not None:
        yield source.hugging_face.token_secret_ref
    if source.http is not None and source.http.header_secret_ref is not None:
        yield source.http.header_secret_ref
    for variable in tier.spec.runtime.extra_env or ():
        if variable.value_from is not None and variable.value_from.secret_key_ref is not None:
            yield variable.value_from.secret_key_ref


def secrets(tier: ModelTier) -> frozenset[str]:
    """Return the names of the Secrets that a tier needs."""
    pulling = {it.name for it in tier.spec.runtime.image_pull_secrets or ()}
    return frozenset({it.name for it in secret_keys(tier)} | pulling)


def claims(tier: ModelTier) -> frozenset[str]:
    """Return the names of the claims that a tier needs and that are not its own."""
    mounted = names.mounted_claim(tier)
    return frozenset() if mounted in {None, names.claim(tier)} else frozenset({str(mounted)})


def _options(facts: Facts, _settings: Settings) -> Iterator[Finding]:
    try:
        extras.check(facts.tier.spec.runtime)
    except extras.RefusedOption as error:
        yield Finding("NotAllowed", str(error))


def _mode(facts: Facts, settings: Settings) -> Iterator[Finding]:
    fetches = names.way(facts.tier) is names.Way.PODS
    if fetches and facts.tier.spec.cache.mode == "Node" and not settings.node_cache_path:
        cure = "use another mode, or ask an administrator to set TIERGARTEN_NODE_CACHE_PATH"
        yield Finding("NotAllowed", f"spec.cache.mode: Node is not allowed here; {cure}")


def _name(facts: Facts, _settings: Settings) -> Iterator[Finding]:
    taken = references.name_taken(facts.tier, facts.older)
    if taken is not None:
        field = ".".join(map(str, taken.path))
        yield Finding("NameTaken", f"{field}: {taken.message}; {taken.cure}")


def _secrets(facts: Facts, _settings: Settings) -> Iterator[Finding]:
    for name in sorted(secrets(facts.tier)):
        if facts.secrets.get(name) is None:
            yield Finding("SecretMissing", f"Secret {name}: is not there; create it")
    for wanted in secret_keys(facts.tier):
        if wanted.key not in (facts.secrets.get(wanted.name) or ()):
            yield Finding("SecretMissing", f"Secret {wanted.name}: has no key {wanted.key}; add it")


def _claims(facts: Facts, _settings: Settings) -> Iterator[Finding]:
    for name in sorted(claims(facts.tier)):
        if facts.claims.get(name) is None:
            yield Finding("ClaimMissing", f"claim {name}: is not there; create it")


def _own_claim(facts: Facts, _settings: Settings) -> Iterator[Finding]:
    """Yield what a live claim has otherwise than the tier, and cannot change."""
    live = facts.live.get(Ref(CLAIM.name, names.claim(facts.tier)))
    if live is None or names.mounted_claim(facts.tier) != names.claim(facts.tier):
        return
    for field, wanted, there in _immutable(facts.tier, live):
        if wanted != there:
            cure = f"set cache.{field} to {there}, or make a new tier"
            said = f"claim {names.claim(facts.tier)}: has {field} {there}, not {wanted}"
            yield Finding("ChildRejected", f"{said}, and cannot change; {cure}")


def _immutable(tier: ModelTier, live: Manifest) -> Iterator[tuple[str, str, str]]:
    cache, spec = tier.spec.cache, live["spec"]
    modes = spec.get("accessModes") or [cache.access_mode]
    yield "accessMode", cache.access_mode, modes[0]
    if cache.storage_class_name is not None:
        there = spec.get("storageClassName", cache.storage_class_name)
        yield "storageClassName", cache.storage_class_name, there
