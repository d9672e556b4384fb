"""What is known: never older than it was, and by the tier that it belongs to."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tiergarten_api import labels
from tiergarten_operator.cluster import Store
from tiergarten_operator.facts import DEPLOYMENT, POD, ROUTE, SERVICE, TIER, Key, Manifest, Ref

KEY = Key("models", "q4")


def thing(name: str = "q4", version: str = "1", uid: str = "u", **metadata: Any) -> Manifest:
    notes = {"labels": {labels.TIER: "q4"}} | metadata
    head = {"name": name, "namespace": "models", "uid": uid, "resourceVersion": version}
    return {"metadata": head | notes}


def known(store: Store) -> str:
    found = store.get(SERVICE, "models", "q4")
    assert found is not None
    return str(found["metadata"]["resourceVersion"])


@given(st.lists(st.integers(1, 50), min_size=1))
def test_the_newest_version_is_kept_in_whatever_order_they_come(versions: list[int]) -> None:
    store = Store()

    news = [store.put(SERVICE, thing(version=str(it))) for it in versions]

    assert known(store) == str(max(versions))
    assert news[0]
    assert sum(news) <= len(set(versions))


def test_an_object_that_was_made_again_replaces_the_one_before() -> None:
    store = Store()
    store.put(SERVICE, thing(version="5"))

    assert store.put(SERVICE, thing(version="9", uid="v"))
    assert not store.put(SERVICE, thing(version="7", uid="u"))  # an old event
    assert known(store) == "9"


def test_a_version_that_is_no_number_is_taken_as_new() -> None:
    store = Store()
    store.put(SERVICE, thing(version="5"))

    assert store.put(SERVICE, thing(version="opaque"))
    assert store.put(SERVICE, thing(version="4"))


def test_children_and_pods_are_found_by_label_or_owner() -> None:
    store = Store()
    owner = {"kind": "ModelTier", "apiVersion": labels.API_VERSION, "name": "q4", "uid": "t"}
    store.put(TIER, thing())
    store.put(SERVICE, thing())
    store.put(DEPLOYMENT, thing(labels=None, ownerReferences=[owner]))
    store.put(POD, thing("pod"))
    store.put(SERVICE, thing("other", labels={}))

    assert {ref for ref, _ in store.children(KEY)} == {
        Ref("Service", "q4"),
        Ref("Deployment", "q4"),
    }
    assert [it["metadata"]["name"] for it in store.pods(KEY)] == ["pod"]
    assert len(list(store.all(SERVICE, "models"))) == 2
    assert store.keys_of(ROUTE, thing("auto")) == {Key("models", "auto", "TierRoute")}


def test_what_is_gone_is_forgotten_unless_it_is_another_one_by_now() -> None:
    store = Store()
    store.put(SERVICE, thing(uid="new"))

    store.remove(SERVICE, "models", "q4", "old")
    assert store.get(SERVICE, "models", "q4") is not None
    store.remove(SERVICE, "models", "q4", "new")
    store.remove(SERVICE, "models", "q4")

    assert list(store.children(KEY)) == []
    assert list(store.all(SERVICE, "models")) == []
    assert store.versions(SERVICE) == {}


def test_of_managers_is_kept_who_sets_the_replicas_of_a_deployment() -> None:
    store = Store()
    fields: Manifest = {"f:spec": {"f:replicas": {}, "f:template": {}}}
    scaling = {"manager": "scaler", "operation": "Apply", "fieldsV1": fields, "time": "now"}
    other = {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {}}}
    for kind in (SERVICE, DEPLOYMENT):
        store.put(kind, thing(managedFields=[scaling, other]))

    assert "managedFields" not in (store.get(SERVICE, "models", "q4") or {})["metadata"]
    (kept,) = (store.get(DEPLOYMENT, "models", "q4") or {})["metadata"]["managedFields"]
    assert kept == {
        "manager": "scaler",
        "operation": "Apply",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
    }


def test_tiers_are_found_by_the_name_of_their_model() -> None:
    store = Store()
    for name, model in (("q2", "small"), ("q4", "small"), ("q8", "large")):
        store.put(TIER, thing(name) | {"spec": {"model": {"name": model}}})
    store.put(TIER, thing("q4", version="2") | {"spec": {"model": {"name": "large"}}})
    store.remove(TIER, "models", "q8")

    def named(model: str) -> list[str]:
        return [it["metadata"]["name"] for it in store.tiers_of_model("models", model)]

    assert (named("small"), named("large"), named("none")) == (["q2"], ["q4"], [])


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_an_object_is_kept_as_it_was_whatever_is_done_to_it(spec: dict[str, Any]) -> None:
    store, found = Store(), thing() | {"spec": dict(spec)}
    store.put(SERVICE, found)

    found["spec"]["more"] = 1
    (store.get(SERVICE, "models", "q4") or {})["spec"] = {}

    (kept,) = store.all(SERVICE, "models")
    assert kept == thing() | {"spec": spec}


def test_names_and_keys_are_those_of_a_kind() -> None:
    store = Store()
    for name in ("q8", "q4"):
        store.put(TIER, thing(name))
    store.put(SERVICE, thing("q2"))

    assert store.names(TIER, "models") == ["q4", "q8"]
    assert store.names(TIER, "elsewhere") == []
    assert sorted(store.keys(TIER)) == [Key("models", "q4"), Key("models", "q8")]
