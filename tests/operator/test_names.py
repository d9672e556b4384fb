"""Names of children fit, and hashes change with what they are about."""

from hypothesis import given

import tiers
from tiergarten_operator import names


@given(tiers.names(), tiers.names())
def test_names_fit_and_jobs_of_different_tiers_differ(one: str, other: str) -> None:
    first, second = tiers.tier(one), tiers.tier(other)

    for name in (names.job(first), names.claim(first), names.secret(first)):
        assert len(name) <= names.NAME_LIMIT
    assert (names.job(first) == names.job(second)) == (one == other)


def test_a_hash_is_about_what_is_fetched_only() -> None:
    same = tiers.tier(replicas=5, runtime={"parallel": 2}, routing={"rank": 3})

    assert names.model_hash(tiers.tier()) == names.model_hash(same)
    assert names.model_hash(tiers.tier()) != names.model_hash(tiers.tier(source=tiers.HTTP))
    assert names.digest({"a": 1, "b": 2}) == names.digest({"b": 2, "a": 1})


def test_claims_that_pods_mount() -> None:
    shared = tiers.tier(cache={"mode": "Shared", "claimName": "pool"})

    assert names.mounted_claim(tiers.tier()) == "q4-model"
    assert names.mounted_claim(shared) == "pool"
    assert names.mounted_claim(tiers.tier(source=tiers.VOLUME)) == "models"
    assert names.mounted_claim(tiers.tier(source=tiers.IMAGE)) is None
    assert names.mounted_claim(tiers.tier(cache={"mode": "Ephemeral"})) is None
