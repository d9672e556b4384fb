import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_api import manifests


def tier(name: str, rank: int = 10, extra: str = "", metadata: str = "") -> str:
    return (
        "---\napiVersion: tiergarten.dev/v1alpha1\nkind: ModelTier\n"
        f"metadata: {{name: {name}{metadata}}}\n"
        "spec:\n  model: {name: demo, source: {volume: {claimName: models}}}\n"
        f"  routing: {{rank: {rank}}}\n{extra}"
    )


def route(name: str = "auto", tiers: str = "{name: q2}", model: str = "auto") -> str:
    return (
        "---\napiVersion: tiergarten.dev/v1alpha1\nkind: TierRoute\n"
        f"metadata: {{name: {name}}}\n"
        f"spec:\n  model: {model}\n  tiers: [{tiers}]\n"
    )


def test_tiers_and_routes_are_read_in_order():
    found = manifests.parse(tier("q2") + route() + tier("q3", 20), "t.yaml")

    assert [it.metadata.name for it in found.tiers] == ["q2", "q3"]
    assert [it.metadata.name for it in found.routes] == ["auto"]
    assert found.problems == found.errors == ()


def test_one_bad_document_does_not_stop_the_others():
    text = tier("q2") + "---\na: [\n" + tier("q3", 20, "  replicas: -1\n") + route()

    found = manifests.parse(text, "t.yaml")

    assert [it.metadata.name for it in found.tiers] == ["q2"]
    assert [it.metadata.name for it in found.routes] == ["auto"]
    assert [problem.document for problem in found.problems] == [2, 3]
    assert [problem.file for problem in found.problems] == ["t.yaml"] * 2


@pytest.mark.parametrize(
    ("text", "field", "message", "cure"),
    [
        ("- a\n", "", "is not an object", "begin it with apiVersion and kind"),
        ("kind: ModelTier\n", "apiVersion", "is missing", "apiVersion: tiergarten.dev/v1alpha1"),
        ("apiVersion: v1\n", "kind", "is missing", "write kind: ModelTier or TierRoute"),
        ("apiVersion: v1\nkind: 5\n", "kind", "no text", "ModelTier or TierRoute"),
        (
            "apiVersion: tiergarten.dev/v1\nkind: TierRoute\n",
            "apiVersion",
            "is no version of TierRoute",
            "write apiVersion: tiergarten.dev/v1alpha1",
        ),
        (
            "apiVersion: v1\nkind: List\nitems: []\n",
            "kind",
            "is a list of objects",
            "write its items as documents",
        ),
        (
            "apiVersion: tiergarten.dev/v1alpha1\nkind: ModelTeir\n",
            "kind",
            "is no kind that is known",
            "write kind: ModelTier",
        ),
        (
            "apiVersion: v1\nkind: Secret\ndata: {token: aHVudGVyMg==}\n",
            "kind",
            "is another kind of object",
            "give it to kubectl in a file of its own",
        ),
    ],
)
def test_what_is_neither_tier_nor_route_is_named(text: str, field: str, message: str, cure: str):
    (problem,) = manifests.parse(text, "t.yaml").problems

    assert problem.field == field
    assert message in problem.message
    assert cure in problem.cure
    assert "aHVudGVyMg" not in str(problem)


def test_a_document_that_says_nothing_is_skipped():
    assert manifests.parse("null\n---\n~\n", "t.yaml").problems == ()


def test_a_kind_and_name_are_there_once():
    found = manifests.parse(tier("q2") + tier("q2", 20) + route("q2"), "t.yaml")

    (problem,) = found.problems
    assert (problem.document, problem.field) == (2, "metadata.name")
    assert problem.message == "is q2, as that of another ModelTier before it"
    assert (len(found.tiers), len(found.routes)) == (1, 1)


def test_a_model_name_and_rank_are_there_once():
    found = manifests.parse(tier("q2") + tier("q3"), "t.yaml")

    (problem,) = found.errors
    assert (problem.line, problem.field) == (14, "spec.routing.rank")
    assert [it.metadata.name for it in found.tiers] == ["q2"]


def test_a_model_name_has_one_route():
    found = manifests.parse(tier("q2") + route("a") + route("b"), "t.yaml")

    (problem,) = found.errors
    assert (problem.document, problem.field) == (3, "spec.model")
    assert [it.metadata.name for it in found.routes] == ["a"]


def test_a_file_holds_one_namespace():
    text = tier("q2", metadata=", namespace: a") + tier("q3", 20) + tier("q4", 30)

    other = tier("q5", 40, metadata=", namespace: b")
    found = manifests.parse(text + other, "t.yaml")

    (problem,) = found.errors
    assert (problem.document, problem.field) == (4, "metadata.namespace")
    assert problem.message == "is b, and that of the objects before it is a"
    assert len(found.tiers) == 3


def test_a_route_to_a_tier_that_is_not_there_is_kept_with_a_warning():
    found = manifests.parse(tier("q2") + route(tiers="{name: q2}, {name: q9}"), "t.yaml")

    (problem,) = found.problems
    assert (problem.severity, problem.field) == ("warning", "spec.tiers[1].name")
    assert found.errors == ()
    assert len(found.routes) == 1


def test_a_route_to_a_tier_that_was_refused_is_no_second_problem():
    found = manifests.parse(tier("q2", extra="  replicas: -1\n") + route(), "t.yaml")

    assert [problem.field for problem in found.problems] == ["spec.replicas"]


def test_a_tier_that_no_score_leads_to_is_told():
    text = (
        tier("q2")
        + tier("q3", 20)
        + route(tiers="{name: q2, maxDifficulty: 100}, {name: q3, maxDifficulty: 30}")
        + "  strategy: Threshold\n"
    )

    (problem,) = manifests.parse(text, "t.yaml").problems

    assert problem.field == "spec.tiers[1].maxDifficulty"
    assert "no score leads to q3" in problem.message


def test_problems_are_in_the_order_of_the_file():
    text = route(tiers="{name: q9}") + tier("q2", extra="  replicas: -1\n")

    found = manifests.parse(text, "t.yaml")

    assert [problem.document for problem in found.problems] == [1, 2]


@given(st.text("---\n :[]{}'\"ap1", max_size=50), st.sampled_from(["", tier("q2"), route()]))
def test_whatever_a_file_holds_it_is_read_or_explained(text: str, before: str):
    found = manifests.parse(before + text, "t.yaml")

    assert all(str(problem).startswith("t.yaml:") for problem in found.problems)
