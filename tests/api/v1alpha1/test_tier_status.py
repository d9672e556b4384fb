import pytest
from pydantic import ValidationError

from tiergarten_api.v1alpha1 import ModelTierStatus


def test_a_status_may_say_nothing():
    assert ModelTierStatus().model_dump(exclude_none=True) == {}


def test_a_status_is_written_as_kubernetes_wants_it():
    status = ModelTierStatus.model_validate(
        {"readyReplicas": 2, "model": {"files": [{"name": "a.gguf", "fetchedBytes": 2**33}]}}
    )

    assert status.model_dump(mode="json", exclude_none=True) == {
        "readyReplicas": 2,
        "model": {"files": [{"name": "a.gguf", "fetchedBytes": 2**33}]},
    }


@pytest.mark.parametrize("count", [2**31, -(2**31) - 1])
def test_a_count_fits_32_bits(count: int):
    with pytest.raises(ValidationError, match="must fit 32 bits"):
        ModelTierStatus(replicas=count)
