import pytest

from tiergarten_api.v1alpha1 import ModelTier, ModelTierSpec
from tiergarten_api.v1alpha1.model_tier import NAME_LENGTH

DIGEST = "r.io/m@sha256:" + "a" * 64
IMAGE = {"spec/model/source": {"image": {"reference": DIGEST}}}


def test_a_minimal_tier_has_the_defaults_of_the_crd(tier):
    spec = ModelTier.model_validate(tier()).spec

    assert (spec.replicas, spec.rollout.strategy, spec.rollout.drain_timeout_seconds) == (
        1,
        "Auto",
        120,
    )
    assert (spec.disruption.max_unavailable, spec.routing.rank) == (1, 100)
    assert (spec.resources, spec.suspend, spec.autoscaling, spec.scheduling) == (None,) * 4


def test_a_tier_is_read_again_from_what_it_is_written_as(tier):
    first = ModelTier.model_validate(tier({"spec/routing/capabilities": ["vision", "tools"]}))

    again = ModelTier.model_validate_json(first.model_dump_json(exclude_none=True))

    assert again == first


def test_a_tier_cannot_be_changed(tier):
    resource = ModelTier.model_validate(tier())

    with pytest.raises(ValueError, match="frozen"):
        resource.spec.replicas = 2  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize("name", ["q2", "a", "q4-k-m", "x" * NAME_LENGTH])
def test_a_name_is_a_dns_label(tier, refusals, name):
    assert refusals(tier({"metadata/name": name})) == []


@pytest.mark.parametrize("name", ["q4.k", "4bit", "a.b.c"])
def test_a_name_that_its_service_could_not_have_is_refused(tier, refusals, name):
    (refusal,) = refusals(tier({"metadata/name": name}))

    assert "name must be a DNS label that starts with a letter" in refusal


def test_a_name_leaves_room_for_the_names_of_children(tier, refusals):
    (refusal,) = refusals(tier({"metadata/name": "x" * (NAME_LENGTH + 1)}))

    assert "name must be at most 52 characters" in refusal


@pytest.mark.parametrize(
    ("suspend", "good"), [(True, False), (False, True), (None, True)], ids=["on", "off", "null"]
)
def test_suspend_and_autoscaling_exclude_each_other(tier, refusals, suspend, good):
    changes = {"spec/autoscaling": {"maxReplicas": 2}, "spec/suspend": suspend}

    refused = refusals(tier(changes))

    assert refused == ([] if good else ["spec: suspend and autoscaling exclude each other"])


def test_fewest_replicas_do_not_exceed_the_most(tier, refusals):
    assert refusals(tier({"spec/autoscaling": {"minReplicas": 2, "maxReplicas": 2}})) == []
    assert refusals(tier({"spec/autoscaling": {"minReplicas": 4, "maxReplicas": 2}})) == [
        "spec.autoscaling: minReplicas must not exceed maxReplicas"
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec/cache/mode": "Image"}, "cache mode Image needs an image source"),
        (IMAGE, "an image source is mounted by the kubelet and is not cached"),
        (IMAGE | {"spec/cache/mode": "Node"}, "an image source is mounted by the kubelet"),
    ],
)
def test_an_image_and_cache_mode_image_go_together(tier, refusals, changes, message):
    (refusal,) = refusals(tier(changes))

    assert message in refusal


@pytest.mark.parametrize(
    ("path", "good", "bad"),
    [
        ("spec/replicas", [0, 1000], [-1, 1001]),
        ("spec/disruption/maxUnavailable", [0, 1000], [-1]),
        ("spec/rollout/startupTimeoutSeconds", [10, 7200], [9, 7201]),
        ("spec/routing/rank", [0, 1000], [-1, 1001]),
        ("spec/routing/latencyObjectiveSeconds", [1, 3600], [0, 3601, 1.5]),
        ("spec/routing/costPerMillionTokens", ["0.15", 3, "7"], [0.15, -1, "cheap"]),
        ("spec/routing/capabilities", [["vision"], []], [["A"], ["a", "a"], ["x" * 64]]),
        ("spec/resources/requests", [{"cpu": 4, "memory": "4Gi"}], [{"cpu": "4 cores"}]),
        ("spec/resources/limits", [{"nvidia.com/gpu": 1, "cpu": None}], [{"a": -1}]),
        ("spec/scheduling/nodeSelector", [{"disk": "ssd", "x": None}], [{"disk": 1}]),
        ("spec/scheduling/tolerations", [[{"key": "gpu", "any": {"thing": 1}}]], [["gpu"]]),
    ],
)
def test_a_field_is_bounded(tier, refusals, path, good, bad):
    for value in good:
        assert refusals(tier({path: value})) == []
    for value in bad:
        assert len(refusals(tier({path: value}))) == 1, value


def test_a_null_in_a_map_is_dropped_as_the_api_server_does(tier):
    document = tier({"spec/scheduling": {"nodeSelector": {"disk": "ssd", "zone": None}}})

    scheduling = ModelTier.model_validate(document).spec.scheduling

    assert scheduling is not None
    assert scheduling.node_selector == {"disk": "ssd"}


def test_a_spec_needs_a_model(tier, refusals):
    assert refusals(tier({"spec": {}})) == ["spec.model: Field required"]
    assert refusals(tier({"spec": ...})) == ["spec: Field required"]


def test_every_field_that_a_user_writes_is_described():
    described = {name: field.description for name, field in ModelTierSpec.model_fields.items()}

    assert all(described.values()), described
