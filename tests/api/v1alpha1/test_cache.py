import pytest

from tiergarten_api.v1alpha1 import ModelTier

CACHE = "spec/cache"


def test_the_default_is_a_claim_of_the_tiers_own(tier):
    cache = ModelTier.model_validate(tier()).spec.cache

    assert (cache.mode, cache.access_mode, cache.deletion_policy) == (
        "PerTier",
        "ReadWriteOnce",
        "Delete",
    )
    assert cache.size is None


@pytest.mark.parametrize(
    ("cache", "good"),
    [
        ({"mode": "Shared", "claimName": "models"}, True),
        ({"mode": "Shared"}, False),
        ({"claimName": "models"}, False),
        ({"mode": "Node", "claimName": "models"}, False),
        ({"mode": "Ephemeral"}, True),
        ({}, True),
    ],
)
def test_mode_shared_and_a_claim_go_together(tier, refusals, cache, good):
    refused = refusals(tier({CACHE: cache}))

    assert refused == (
        [] if good else ["spec.cache: mode Shared needs claimName, and no other mode takes it"]
    )


@pytest.mark.parametrize("size", ["12Gi", 1, "1.5Ti", "10000000000"])
def test_a_size_is_a_quantity(tier, refusals, size):
    assert refusals(tier({f"{CACHE}/size": size})) == []


@pytest.mark.parametrize("size", ["12Gx", "0", 0, -1, "500m", 1.5])
def test_a_size_of_nothing_is_refused(tier, refusals, size):
    assert len(refusals(tier({f"{CACHE}/size": size}))) == 1
