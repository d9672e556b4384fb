import pytest
from pydantic import ValidationError

from tiergarten_api.v1alpha1 import Condition, ObjectMeta, SecretKeyRef

NOW = "2026-01-31T12:00:00Z"


def condition(**changes: object) -> Condition:
    fields = {"type": "Ready", "status": "True", "reason": "Serving", "message": ""}
    return Condition.model_validate(fields | {"lastTransitionTime": NOW} | changes)


def test_what_metadata_holds_beyond_our_needs_is_ignored():
    meta = ObjectMeta.model_validate(
        {
            "name": "q2",
            "uid": "1-2",
            "resourceVersion": "7",
            "managedFields": [{"manager": "kubectl"}],
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u", "more": 1}
            ],
        }
    )

    assert (meta.name, meta.uid, meta.resource_version) == ("q2", "1-2", "7")
    assert meta.owner_references[0].uid == "u"


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a\n", "x" * 254])
def test_a_name_is_what_kubernetes_takes(name: str):
    with pytest.raises(ValidationError):
        ObjectMeta(name=name)


def test_a_namespace_has_no_dots():
    assert ObjectMeta(name="a.b", namespace="team-1").namespace == "team-1"
    with pytest.raises(ValidationError):
        ObjectMeta(name="a", namespace="team.1")


def test_a_secret_is_read_by_its_key_token():
    assert SecretKeyRef(name="hugging-face").key == "token"


@pytest.mark.parametrize("moment", [NOW, "2026-01-31t12:00:00.25z", "2026-01-31T12:00:00+01:00"])
def test_a_condition_changed_at_a_time_of_rfc_3339(moment: str):
    assert condition(lastTransitionTime=moment).last_transition_time == moment


@pytest.mark.parametrize(
    "moment", ["yesterday", "2026-01-31", "2026-01-31 12:00:00Z", "2026-13-01T00:00:00Z", "2026"]
)
def test_another_time_is_refused(moment: str):
    with pytest.raises(ValidationError):
        condition(lastTransitionTime=moment)


@pytest.mark.parametrize(
    "changes", [{"status": "Maybe"}, {"status": True}, {"reason": ""}, {"reason": "two words"}]
)
def test_a_condition_has_a_status_and_a_reason(changes: dict[str, object]):
    with pytest.raises(ValidationError):
        condition(**changes)
