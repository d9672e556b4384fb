"""What real nodes taught: fetches that tell how far they are, and pods that cannot be started."""

from typing import Any

import pytest

import tiers
from tiergarten_fetch import outcomes
from tiergarten_fetch.outcomes import Outcome
from tiergarten_fetch.results import Progress
from tiergarten_operator import names, observed
from tiergarten_operator.facts import Manifest, Ref
from tiergarten_operator.observed import pods

TIER = tiers.tier()
JOB = Ref("Job", names.job(TIER))
LIVE: dict[Ref, Manifest] = {JOB: {"metadata": {"uid": "job"}, "status": {}}}
HALF = Progress("a.gguf", 500_000_000, 1_000_000_000)
MORE = Progress("b.gguf", 600_000_000, 2_000_000_000)
DEPLOYMENT: Manifest = {"metadata": {"generation": 1}, "spec": {"replicas": 2}}


def job_pod(phase: str, outcome: Outcome | None = None, **status: Any) -> Manifest:
    ended = {"terminated": {"message": outcomes.line(outcome)}} if outcome else {}
    metadata = {"name": phase, "ownerReferences": [{"uid": "job"}]}
    containers = [{"name": "fetch", "state": ended}]
    return {
        "metadata": metadata,
        "status": {"phase": phase, "containerStatuses": containers} | status,
    }


def server_pod(container: Manifest, **metadata: Any) -> Manifest:
    labels = names.child_labels(TIER)
    status = {"containerStatuses": [{"name": "llama-server"} | container]}
    return {"metadata": {"name": "s", "labels": labels} | metadata, "status": status}


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        ((HALF, MORE), "1.1 GB of 3.0 GB"),
        ((HALF, Progress("b.gguf", 0, None)), "500.0 MB"),
        ((Progress("a.gguf", 1, 2, note="cut off"),), "0.0 MB of 0.0 MB; tries again: cut off"),
    ],
)
def test_a_running_fetch_says_how_far_it_is(progress: tuple[Progress, ...], said: str) -> None:
    found = observed.fetch(tiers.facts(TIER, live=LIVE, progress=progress))

    assert (found.reason, found.progress) == ("Fetching", progress)
    assert found.message == f"Job {JOB.name}: fetches the model: {said}"


def test_what_somebody_must_act_on_is_said_while_the_job_tries_again() -> None:
    refused = job_pod("Failed", Outcome("Unauthorized", 43, "answers 401; check the secret"))

    found = observed.fetch(tiers.facts(TIER, live=LIVE, pods=(refused,)))

    assert found.reason == "Unauthorized"
    assert found.message == f"answers 401; check the secret; Job {JOB.name} tries again"


def test_only_a_running_pod_of_the_fetch_is_asked() -> None:
    running = job_pod("Running", podIP="10.0.0.7")

    def asks(*found: Manifest, **known: Any) -> str | None:
        return observed.asks(tiers.facts(TIER, **({"live": LIVE} | known), pods=found))

    assert asks(job_pod("Pending"), job_pod("Running")) is None
    assert asks(running) == "10.0.0.7"
    assert asks(running, live={}) is None


def test_a_job_ends_well_or_not() -> None:
    def job(kind: str) -> Manifest:
        return {"status": {"conditions": [{"type": kind, "status": "True"}]}}

    assert [observed.ended(it) for it in (None, job("Complete"), job("Failed"), job("Other"))] == [
        "",
        "Complete",
        "Failed",
        "",
    ]


def test_a_container_that_cannot_be_started_says_why() -> None:
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": "no secret x"}}

    found = pods.trouble([server_pod({"state": waiting})])

    assert found is not None
    assert found.reason == "CrashLoop"
    assert "no secret x" in found.message


def test_a_fetch_that_loops_says_its_own_words() -> None:
    wrong = Outcome("ChecksumMismatch", 41, "sha256 is b, expected a")
    last = {"terminated": {"exitCode": 41, "message": outcomes.line(wrong)}}
    state = {"waiting": {"reason": "CrashLoopBackOff"}}

    found = pods.trouble([server_pod({"state": state, "lastState": last})])

    assert found is not None
    assert found.message.endswith("ended with code 41: sha256 is b, expected a")


@pytest.mark.parametrize(
    ("status", "enough"),
    [
        ({"readyReplicas": 2}, True),
        ({"readyReplicas": 1}, False),
        ({"availableReplicas": 1, "conditions": [{"type": "Available", "status": "True"}]}, True),
        ({"conditions": [{"type": "Available", "status": "True"}]}, False),
    ],
)
def test_enough_pods_answer_if_all_do_or_the_deployment_says_so(
    status: Manifest, *, enough: bool
) -> None:
    live = {Ref("Deployment", "q4"): DEPLOYMENT | {"status": status}}

    assert observed.serving(tiers.facts(TIER, live=live)).minimum is enough


def test_pods_on_their_way_out_are_counted_apart() -> None:
    live = {Ref("Deployment", "q4"): DEPLOYMENT | {"status": {}}}
    going = server_pod({}, deletionTimestamp="2026-01-01T00:00:00Z")

    found = observed.serving(tiers.facts(TIER, live=live, pods=(going, server_pod({}))))

    assert (found.pods, found.stopping) == (1, 1)


@pytest.mark.parametrize(
    ("source", "said", "found"),
    [
        (tiers.IMAGE, 'failed to mkdir ""', 'failed to mkdir ""'),
        (tiers.IMAGE, "no command specified", ""),
        (tiers.VOLUME, 'failed to mkdir ""', ""),
    ],
)
def test_a_node_that_cannot_mount_images_is_known_by_its_words(
    source: Manifest, said: str, found: str
) -> None:
    live = {Ref("Deployment", "q4"): DEPLOYMENT | {"status": {}}}
    waiting = {"waiting": {"reason": "CreateContainerError", "message": said}}
    pod = server_pod({"state": waiting})

    serving = observed.serving(tiers.facts(tiers.tier(source=source), live=live, pods=(pod,)))

    assert serving.unmounted == found


def test_a_found_model_is_looked_for_again_if_its_record_is_lost() -> None:
    unnamed = tiers.tier(model={"name": "m", "source": tiers.VOLUME})
    notes = {"tiergarten.dev/model-hash": names.model_hash(unnamed)}
    live = {Ref("Deployment", "q4"): {"metadata": {"annotations": notes}}}

    assert observed.fetch(tiers.facts(unnamed, live=live)).reason == "Fetching"

    notes[names.OUTCOME] = outcomes.line(tiers.OUTCOME)
    assert observed.fetch(tiers.facts(unnamed, live=live)).outcome == tiers.OUTCOME
