"""What is said of a tier, from what is known of it."""

import pytest

from tiergarten_api.v1alpha1 import ModelTierSpec
from tiergarten_router.core.snapshot import Endpoint, ReplicaState
from tiergarten_router.sources import status
from tiergarten_router.sources.status import Coming, Situation, Trouble

MODEL = {"name": "demo", "source": {"volume": {"claimName": "models"}}}
MIB = 1 << 20


def spec(**fields):
    return ModelTierSpec.model_validate({"model": MODEL, **fields})


READY = Endpoint("q2-0", "http://127.0.0.1:1")
LOADING = Endpoint("q2-1", "", ReplicaState.LOADING, "loads its model")
FAILED = Endpoint("q2-2", "", ReplicaState.FAILED, "ended with exit code 1")
TROUBLE = Trouble("NotGGUF", "x.gguf: cut")


@pytest.mark.parametrize(
    ("situation", "reason", "message"),
    [
        pytest.param(Situation(spec(), [READY, FAILED]), "Serving", "", id="one is ready"),
        pytest.param(
            Situation(spec(), [READY], TROUBLE), "Serving", "x.gguf: cut", id="an edit went wrong"
        ),
        pytest.param(Situation(spec(), [], TROUBLE), "NotGGUF", "x.gguf: cut", id="no model"),
        pytest.param(
            Situation(spec(suspend=True), [READY]),
            "Suspended", "spec.suspend is true; take it out to serve", id="suspended",
        ),
        pytest.param(
            Situation(spec(replicas=0)),
            "NoReplicas", "spec.replicas is 0; raise it to serve", id="scaled to nothing",
        ),
        pytest.param(
            Situation(spec(), [LOADING]), "Loading", "the model is being loaded", id="loading"
        ),
        pytest.param(
            Situation(spec(), [LOADING, FAILED]),
            "CrashLoop", "ended with exit code 1", id="failing",
        ),
        pytest.param(
            Situation(spec(), coming=Coming(MIB)), "Fetching", "1 MiB are here", id="size unknown"
        ),
        pytest.param(
            Situation(spec(), coming=Coming(MIB, 2000 * MIB, "reset")),
            "Fetching", "1 of 2,000 MiB are here (reset)", id="fetching",
        ),
        pytest.param(
            Situation(spec(), [READY], notice="the last edit is not applied"),
            "Serving", "the last edit is not applied", id="a notice",
        ),
        pytest.param(
            Situation(spec(autoscaling={"minReplicas": 2, "maxReplicas": 9}), [READY]),
            "Serving", "runs 2 replicas (autoscaling.minReplicas): only a cluster scales",
            id="autoscaling",
        ),
    ],
)  # fmt: skip
def test_says_the_first_thing_that_matters(situation, reason, message):
    said = status.status(situation)

    assert (said.reason, said.message) == (reason, message)


def test_carries_the_numbers():
    said = status.status(
        Situation(spec(), coming=Coming(1, 2), memory_bytes=3, quantization="Q4_K_M")
    )

    assert (said.fetched_bytes, said.total_bytes) == (1, 2)
    assert (said.memory_bytes, said.quantization) == (3, "Q4_K_M")


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"replicas": 3}, 3),
        ({"replicas": 3, "suspend": True}, 0),
        ({"replicas": 3, "autoscaling": {"minReplicas": 2, "maxReplicas": 5}}, 2),
    ],
    ids=["replicas", "suspended", "autoscaling"],
)
def test_replicas_are_a_fixed_number_without_a_cluster(fields, count):
    assert status.replicas(spec(**fields)) == count
