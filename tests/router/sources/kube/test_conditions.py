"""What the operator's conditions become: the words of local mode."""

from typing import Any

import pytest

from slices import tier
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_router.core.snapshot import Endpoint, ReplicaState, TierStatus
from tiergarten_router.sources.kube import conditions

READY = Endpoint("p", "http://10.0.0.1:8080")
LOADING = Endpoint("p", "http://10.0.0.1:8080", ReplicaState.LOADING)


def said(kind: str, status: str, reason: str, message: str = "") -> dict[str, str]:
    moment = "2026-01-01T00:00:00Z"
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": moment,
    }


def resource(
    *found: dict[str, str], spec: dict[str, Any] | None = None, **status: Any
) -> ModelTier:
    body = tier(**(spec or {}))
    body["status"] = status | ({"conditions": list(found)} if found else {})
    return ModelTier.model_validate(body)


def test_a_tier_that_answers_is_serving_and_has_nothing_to_say() -> None:
    found = resource(said("Ready", "True", "Serving", "2 of 2 replicas answer"))

    assert conditions.status(found, [READY]) == TierStatus("Serving", "")


def test_a_tier_that_answers_in_spite_of_a_trouble_is_serving_and_says_which() -> None:
    found = resource(said("Ready", "False", "ChecksumMismatch", "small.gguf: another sha256"))

    assert conditions.status(found, [READY]) == TierStatus("Serving", "small.gguf: another sha256")


def test_a_tier_that_does_not_answer_has_the_operator_s_word() -> None:
    found = resource(said("Ready", "False", "Fetching", "3 of 4 MiB are here"))

    assert conditions.status(found, [LOADING]) == TierStatus("Fetching", "3 of 4 MiB are here")


def test_slices_may_know_better_than_a_condition_that_is_old() -> None:
    found = resource(said("Ready", "True", "Serving"))

    assert conditions.status(found, []).reason == "Loading"


def test_a_tier_without_conditions_says_who_is_missing() -> None:
    bare = ModelTier.model_validate(tier())

    assert conditions.status(bare, []) == TierStatus("Unknown", conditions.UNSEEN)
    assert conditions.status(bare, [READY]).reason == "Serving"


def test_a_suspended_tier_is_suspended_whatever_still_answers() -> None:
    found = resource(said("Ready", "True", "Serving"), spec={"suspend": True})

    assert conditions.status(found, [READY]).reason == "Suspended"


def test_a_notice_is_added_to_the_message() -> None:
    found = resource(said("Ready", "False", "Loading", "loads"))

    assert conditions.status(found, [], "an edit is refused").message == "loads; an edit is refused"


FILES = [{"name": "a", "sizeBytes": 10, "fetchedBytes": 4}, {"name": "b", "sizeBytes": 5}]


def test_bytes_are_told_until_the_model_is_there() -> None:
    fetching = resource(said("ModelAvailable", "False", "Fetching"), model={"files": FILES})
    there = resource(said("ModelAvailable", "True", "Verified"), model={"files": FILES})
    unsized = resource(model={"files": [*FILES, {"name": "c"}]})

    def fetched(found: ModelTier) -> tuple[int | None, int | None]:
        status = conditions.status(found, [])
        return status.fetched_bytes, status.total_bytes

    assert fetched(fetching) == (4, 15)
    assert fetched(there) == fetched(resource()) == (None, None)
    assert fetched(unsized) == (4, None)


@pytest.mark.parametrize(
    ("memory", "expected"),
    [({"request": "1536Mi"}, 1536 << 20), ({"weightsBytes": 5}, None), ({"request": "much"}, None)],
)
def test_memory_is_the_operator_s_estimate(memory: dict[str, Any], expected: int | None) -> None:
    found = conditions.status(resource(memory=memory, model={"quantization": "Q4_K_M"}), [])

    assert (found.memory_bytes, found.quantization) == (expected, "Q4_K_M")
