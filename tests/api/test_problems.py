import pytest

from tiergarten_api import problems
from tiergarten_api.documents import Document, Place
from tiergarten_api.problems import Finding, Problem


def test_a_problem_is_one_line_with_place_value_and_cure():
    problem = Problem("t.yaml", 2, 14, "spec.replicas", "-1", "must be at least 0", "write 0")

    assert str(problem) == "t.yaml:14: error: spec.replicas: must be at least 0 (it is -1); write 0"


def test_a_problem_of_a_whole_document_names_the_document():
    problem = Problem("t.yaml", 2, 14, "", "", "is not an object", "begin it", "warning")

    assert str(problem) == "t.yaml:14: warning: document 2: is not an object; begin it"


def test_a_finding_is_placed_at_the_line_of_its_field():
    document = Document(3, {}, {(): Place(7), ("spec",): Place(9)})

    problem = problems.placed(Finding(("spec", "x"), "m", "c", "v", "warning"), document, "f")

    assert problem == Problem("f", 3, 9, "spec.x", "v", "m", "c", "warning")


def test_a_path_is_written_as_kubernetes_does():
    assert problems.field_path(("spec", "tiers", 0, "name")) == "spec.tiers[0].name"
    assert problems.field_path(()) == ""


@pytest.mark.parametrize(
    ("value", "path", "shown"),
    [
        ("4", ("spec",), '"4"'),
        (True, (), "true"),
        (0.5, (), "0.5"),
        (7, (), "7"),
        (None, (), ""),
        ({"a": 1}, (), "a mapping"),
        (["a"], (), "a list"),
        ("x" * 99, (), '"' + "x" * 40 + '…"'),
    ],
)
def test_a_value_is_shown_shortly(value: object, path: tuple[str, ...], shown: str):
    assert problems.shown(value, path) == shown


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("hunter2", ("spec", "runtime", "extraEnv", 0, "value")),
        ("--api-key=hunter2", ("spec", "runtime", "extraArgs", 0)),
        ("https://me:hunter2@host/x", ("spec", "model", "source", "http", "url")),
        ("https://host/x?sig=hunter2", ("spec", "model", "source", "http", "url")),
        ("hunter2", ("metadata", "annotations", "note")),
    ],
)
def test_what_may_be_secret_is_not_shown(value: str, path: tuple[str | int, ...]):
    assert "hunter2" not in problems.shown(value, path)
