"""What live objects say of the model, of the Deployment and of its pods."""

from typing import Any

import pytest

import tiers
from tiergarten_api import labels
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_fetch import outcomes
from tiergarten_fetch.outcomes import Outcome
from tiergarten_operator import desired, names, observed
from tiergarten_operator.facts import Manifest, Ref, Serving, ref
from tiergarten_operator.observed import pods
from tiergarten_operator.settings import Settings

TIER = tiers.tier()
JOB = Ref("Job", names.job(TIER))
DEPLOYMENT = Ref("Deployment", "q4")
CLAIM = Ref("PersistentVolumeClaim", "q4-model")
WRONG = Outcome("ChecksumMismatch", 41, "small.gguf: sha256 is b, expected a")
LOOP = {"waiting": {"reason": "CrashLoopBackOff"}}


def condition(kind: str, status: str = "True", **more: str) -> Manifest:
    return {"type": kind, "status": status} | more


def job(*conditions: Manifest) -> dict[Ref, Manifest]:
    return {JOB: {"metadata": {"uid": "job"}, "status": {"conditions": list(conditions)}}}


def job_pod(
    outcome: Outcome | None = None, phase: str = "Succeeded", name: str = "p", **more: Any
) -> Manifest:
    ended = {"terminated": {"message": outcomes.line(outcome)}} if outcome else {}
    metadata = {"name": name, "ownerReferences": [{"uid": "job"}]}
    containers = [{"name": "fetch", "state": ended}]
    return {
        "metadata": metadata,
        "status": {"phase": phase, "containerStatuses": containers} | more,
    }


def server_pod(*containers: Manifest, inits: tuple[Manifest, ...] = (), **more: Any) -> Manifest:
    status = {"containerStatuses": list(containers), "initContainerStatuses": list(inits)} | more
    return {"metadata": {"name": "s", "labels": names.child_labels(TIER)}, "status": status}


def fetched(tier: ModelTier = TIER, **known: Any) -> tuple[str, str, Outcome | None]:
    found = observed.fetch(tiers.facts(tier, **known))
    return found.reason, found.message, found.outcome


def test_before_the_job_nothing_is_known() -> None:
    assert fetched()[0] == "Fetching"


def test_a_running_job_fetches() -> None:
    assert fetched(live=job())[:2] == ("Fetching", f"Job {JOB.name}: fetches the model")


def test_a_job_that_ended_well_tells_of_the_model() -> None:
    found = fetched(live=job(condition("Complete")), pods=(job_pod(tiers.OUTCOME),))

    assert found[0] == "Verified"
    assert found[2] == tiers.OUTCOME


def test_a_jobs_end_may_be_seen_before_its_pods() -> None:
    running = job_pod(phase="Running")

    assert fetched(live=job(condition("Complete")), pods=(running,))[0] == "Fetching"
    assert fetched(live=job(condition("Complete")))[0] == "Verified"  # its pods are gone for good


def test_a_job_that_failed_says_why_and_what_to_do() -> None:
    found = fetched(live=job(condition("Failed")), pods=(job_pod(WRONG, "Failed"),))

    assert found[0] == "ChecksumMismatch"
    assert found[1].startswith(WRONG.message)
    assert labels.REFETCH in found[1]


def test_a_job_that_failed_without_a_word_is_a_failed_fetch() -> None:
    found = fetched(live=job(condition("Failed", message="was evicted")))

    assert found[0] == "FetchFailed"
    assert "was evicted" in found[1]


def test_a_try_that_failed_is_told_while_the_next_one_runs() -> None:
    tries = (job_pod(Outcome("FetchFailed", 1, "reset"), "Failed"), job_pod(None, "Running", "q"))

    found = fetched(live=job(), pods=tries)

    assert found[:2] == ("Fetching", f"Job {JOB.name}: tries again after FetchFailed: reset")


@pytest.mark.parametrize(("phase", "reason"), [("Pending", "ClaimPending"), ("Bound", "Fetching")])
def test_a_job_whose_pod_finds_no_node_waits_for_its_claim_or_a_node(
    phase: str, reason: str
) -> None:
    placed = condition("PodScheduled", "False", message="no volume")
    waiting = job_pod(phase="Pending", conditions=[placed])
    claim = {CLAIM: {"metadata": {}, "status": {"phase": phase}}}

    found = fetched(live=job() | claim, pods=(waiting,))

    assert found[0] == reason
    assert "no volume" in found[1]


def test_a_deployment_of_the_wanted_model_is_the_lasting_record() -> None:
    built = desired.build(tiers.facts(TIER), tiers.FETCHED, Settings())
    live = {ref(it): it for it in built.children if it["kind"] == "Deployment"}

    assert fetched(live=live)[0] == "Verified"
    assert fetched(live=live)[2] == tiers.OUTCOME
    assert fetched(tiers.tier(annotations={labels.REFETCH: "1"}), live=live)[0] == "Fetching"
    del live[DEPLOYMENT]["metadata"]["annotations"][names.OUTCOME]
    assert fetched(live=live)[2] is None


def test_volumes_and_images_need_no_fetch_but_a_look_if_no_file_is_named() -> None:
    unnamed = {"name": "m", "source": tiers.VOLUME}

    assert fetched(tiers.tier(source=tiers.IMAGE))[0] == "Verified"
    assert fetched(tiers.tier(source=tiers.VOLUME))[0] == "Verified"
    assert fetched(tiers.tier(model=unnamed))[0] == "Fetching"


def test_pods_that_fetch_for_themselves_tell_how_it_went() -> None:
    tier = tiers.tier(cache={"mode": "Ephemeral"})

    def init(outcome: Outcome) -> Manifest:
        ended = {"terminated": {"message": outcomes.line(outcome)}}
        return server_pod(inits=({"name": "fetch", "state": ended},))

    assert fetched(tier)[0] == "Fetching"
    assert fetched(tier, pods=(init(tiers.OUTCOME),))[2] == tiers.OUTCOME
    assert fetched(tier, pods=(init(WRONG),))[0] == "ChecksumMismatch"
    assert fetched(tier, pods=(init(WRONG), init(tiers.OUTCOME)))[0] == "Verified"
    ready = server_pod(conditions=[condition("Ready")])
    assert fetched(tier, pods=(ready,))[0] == "Verified"


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        ({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}, "ImagePull"),
        ({"state": {"waiting": {"reason": "ErrImagePull"}}, "image": "x"}, "ImagePull"),
        (
            {"state": LOOP, "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}},
            "OOMKilled",
        ),
        (
            {"state": LOOP, "lastState": {"terminated": {"exitCode": 1, "message": "x" * 400}}},
            "CrashLoop",
        ),
        ({"restartCount": 3, "lastState": {"terminated": {"exitCode": 1}}}, "CrashLoop"),
        ({"restartCount": 1, "lastState": {"terminated": {"exitCode": 1}}}, "Loading"),
        ({"state": {"running": {}}}, "Loading"),
        ({"ready": True}, "Loading"),
    ],
)
def test_what_ails_a_pod_is_one_of_the_reasons(container: Manifest, reason: str) -> None:
    found = pods.trouble([server_pod({"name": "llama-server"} | container)])

    assert found is not None
    assert found.reason == reason
    assert len(found.message) < 400


def test_the_worst_of_several_pods_is_told_and_nothing_of_ready_ones() -> None:
    ready = server_pod(conditions=[condition("Ready")])
    unplaced = server_pod(conditions=[condition("PodScheduled", "False", message="no node")])
    oom = server_pod({"name": "c", "state": {"terminated": {"reason": "OOMKilled"}}})

    found = pods.trouble([ready, unplaced, oom])

    assert found is not None
    assert found.reason == "OOMKilled"
    assert pods.trouble([ready]) is None


def deployment(**status: Any) -> dict[Ref, Manifest]:
    metadata = {"generation": 2, "annotations": {labels.TEMPLATE_HASH: "t"}}
    return {DEPLOYMENT: {"metadata": metadata, "spec": {"replicas": 2}, "status": status}}


def serving(**known: Any) -> Serving:
    return observed.serving(tiers.facts(TIER, **known))


def test_a_deployment_is_settled_when_all_replicas_are_new_and_available() -> None:
    counts = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2}
    good: dict[str, Any] = {"conditions": [condition("Available")], "observedGeneration": 2}

    found = serving(live=deployment(**counts, **good))

    assert found.settled
    assert found.minimum
    assert found.revision == "t"
    assert not serving(live=deployment(**counts, **good | {"observedGeneration": 1})).settled
    assert not serving(live=deployment(**counts | {"updatedReplicas": 1}, **good)).settled
    assert not serving().exists


def test_what_stops_a_deployment_is_told() -> None:
    late = condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="late")
    quota = condition("ReplicaFailure", message="exceeded quota: cpu")

    found = serving(live=deployment(conditions=[late, quota]))

    assert (found.deadline, found.quota) == ("late", "exceeded quota: cpu")


def test_an_autoscaler_that_does_nothing_is_told() -> None:
    tier = tiers.tier(autoscaling={"maxReplicas": 2})
    idle = condition("ScalingActive", "False", message="no metrics")
    scaler = {Ref("HorizontalPodAutoscaler", "q4"): {"status": {"conditions": [idle]}}}

    assert observed.serving(tiers.facts(tier, live=scaler)).scaling == "no metrics"
    assert observed.serving(tiers.facts(TIER, live=scaler)).scaling == ""


def test_pods_on_their_way_out_do_not_count() -> None:
    leaving = server_pod()
    leaving["metadata"] |= {"deletionTimestamp": "now"}
    foreign: Manifest = {"metadata": {"name": "x"}}

    assert serving(pods=(leaving, foreign, server_pod())).pods == 1
