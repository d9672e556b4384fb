import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_api import documents
from tiergarten_api.documents import Document, Place, Unreadable


def one(text: str) -> Document:
    (document,) = documents.read(text)
    assert isinstance(document, Document), document
    return document


def refused(text: str) -> Unreadable:
    (document,) = documents.read(text)
    assert isinstance(document, Unreadable), document
    return document


def test_documents_are_numbered_without_those_that_hold_only_comments():
    text = "# header\n---\na: 1\n--- # nothing here\n# at all\n---\n\n---\nb: 2\n"

    first, second = documents.read(text)

    assert isinstance(first, Document)
    assert isinstance(second, Document)
    assert (first.number, first.value, first.place(("a",)).line) == (1, {"a": 1}, 3)
    assert (second.number, second.value, second.place(("b",)).line) == (2, {"b": 2}, 9)


@pytest.mark.parametrize("text", ["", "\n", "# only words\n", "---\n---\n"])
def test_a_text_without_content_has_no_documents(text: str):
    assert list(documents.read(text)) == []


def test_a_broken_document_does_not_stop_the_others():
    first, second, third = documents.read("a: 1\n---\nb: [1,\n---\nc: 3\n")

    assert isinstance(first, Document)
    assert isinstance(second, Unreadable)
    assert (second.number, second.path) == (2, ())
    assert isinstance(third, Document)
    assert third.value == {"c": 3}


def test_json_and_a_byte_order_mark_are_read():
    assert one('\ufeff{"a": [1, true, null, "x"]}').value == {"a": [1, True, None, "x"]}


def test_each_value_has_its_line_and_a_missing_one_that_of_what_is_around_it():
    document = one("spec:\n  tiers:\n    - name: a\n    - name: b\n")

    assert document.place(("spec", "tiers", 1, "name")).line == 4
    assert document.place(("spec", "tiers", 1, "weight", "x")).line == 4
    assert document.place(("spec", "fallback")).line == 1
    assert document.place(("status",)).line == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", True),
        ("Off", False),
        ("yes", True),
        ("n", False),
        ('"on"', "on"),
        ("'y'", "y"),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-12", -12),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0b11", 3),
        ("017", 15),
        ("0", 0),
        ("+5", 5),
        ("5.0", 5),
        ("0.25", 0.25),
        ("190:20:30", "190:20:30"),
        ("1:30.5", "1:30.5"),
        (".inf", ".inf"),
        ("2026-01-01", "2026-01-01"),
        ("=", "="),
        ("1.5e", "1.5e"),
        ("9" * 5000, "9" * 5000),
        ("[a, 1]", ["a", 1]),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_a_scalar_is_what_kubectl_makes_of_it(text: str, value: object):
    found = one(f"it: {text}").value

    assert found == {"it": value}
    assert type(found["it"]) is type(value)


def test_a_bare_word_is_kept_as_it_was_written():
    document = one('flash: on\nquoted: "on"\non: 1\n5: x\n~: z\n')

    assert document.place(("flash",)) == Place(1, "flash", "on")
    assert document.place(("quoted",)) == Place(2, "quoted", None)
    assert document.place(("true",)) == Place(3, "on", "1")
    assert document.value == {"flash": True, "quoted": "on", "true": 1, "5": "x", "null": "z"}


def test_anchors_and_merges_are_followed():
    document = one(
        "base: &base {a: 1, b: 2}\n"
        "more: &more {b: 3, c: 4}\n"
        "all: {<<: [*base, *more], a: 0}\n"
        "same: *base\n"
    )

    assert document.value == {
        "base": {"a": 1, "b": 2},
        "more": {"b": 3, "c": 4},
        "all": {"a": 0, "b": 2, "c": 4},
        "same": {"a": 1, "b": 2},
    }
    assert document.place(("same",)).line == 4


def test_a_name_that_is_there_twice_is_refused_with_its_line():
    found = refused("spec:\n  a: 1\n  b: 2\n  a: 3\n")

    assert (found.line, found.path, found.message) == (4, ("spec", "a"), "is there twice")


@pytest.mark.parametrize(
    ("text", "line", "message", "cure"),
    [
        ("a: 1\n\tb: 2\n", 2, "cannot start any token", "indent with spaces"),
        ("a: b: c\n", 1, "mapping values are not allowed", "quote a text"),
        ("a: 1\n...\n---\nb: 2\n...\nc: 3\n", 6, "expected '<document start>'", "check"),
        ("a: *nobody\n", 1, "undefined alias", "check"),
        ("a: \x00\n", 1, "a character that YAML does not allow", "take it out"),
        ("x: 1\ny:\n  - a: \x07\n", 3, "a character that YAML does not allow", "take it out"),
        ("a: !Secret x\n", 1, "the tag !Secret is not understood", "take the tag out"),
        ("a: !!binary eA==\n", 1, "is not understood", "take the tag out"),
        ("? [a]\n: 1\n", 1, "a field's name must be text", "write a word"),
        ("a: {<<: 5}\n", 1, "<< takes a mapping", "name an anchor"),
        ("[" * 1000, 1, "is nested deeper than 64 levels", "nest less"),
        ("a: &a [*a]\n", 1, "or 64 levels", "use fewer aliases"),
    ],
)
def test_what_cannot_be_read_has_a_line_and_a_cure(text: str, line: int, message: str, cure: str):
    found = [it for it in documents.read(text) if isinstance(it, Unreadable)][-1]

    assert found.line == line
    assert message in found.message
    assert cure in found.cure


@pytest.mark.parametrize("row", ["[{0}]", "{{<<: [{0}]}}"], ids=["lists", "merges"])
def test_aliases_that_multiply_are_stopped(row: str):
    rows = ["a0: &a0 {x: 1}"]
    rows += [f"a{i}: &a{i} " + row.format(", ".join([f"*a{i - 1}"] * 10)) for i in range(1, 12)]

    found = refused("\n".join(rows))

    assert "holds more than 100000 values" in found.message


def test_a_text_of_more_than_a_mebibyte_is_not_looked_at():
    found = refused("é" * (documents.MAX_BYTES // 2 + 1))

    assert found.message == "is larger than 1 MiB"


@given(st.text())
def test_any_text_is_read_or_refused_and_nothing_is_raised(text: str):
    for number, document in enumerate(documents.read(text), start=1):
        assert document.number == number


@given(st.text("---\n\t :#[]{}&*!|>'\"%@`ayon1<?,", max_size=60))
def test_any_odd_yaml_is_read_or_refused_and_nothing_is_raised(text: str):
    for document in documents.read(text):
        if isinstance(document, Document):
            assert document.place(("nowhere",)).line >= 1
        else:
            assert document.cure
