"""Rules say what the script says, and a slip is found where it is."""

from hypothesis import given
from hypothesis import strategies as st

from tiergarten_llama.models.contexts import ANY, Rule, Script, rules, slip

OPENING = (100, 101, 102)
END = 99


def script_of(*answers: list[int], topic_of: dict[int, int] | None = None) -> Script:
    closed = [[*answer, END] for answer in answers]
    return Script(OPENING, closed, topic_of or {}, first_words=[1, 2], words=10)


def test_answers_that_share_their_words_are_told_apart_by_topic() -> None:
    script = script_of([1, 2, 3, 4], [1, 2, 3, 5], [6, 2, 3, 5, 7])

    assert slip(script, rules(script)) is None


def test_an_answer_that_repeats_a_context_is_found() -> None:
    script = script_of([1], [1, 2, 3, 4, 1, 2, 3, 5])

    assert slip(script, rules(script)) == (1, 7)


def test_an_answer_that_says_another_topics_keyword_is_found_where_it_changes_course() -> None:
    fork = [[0], [1, 2, 3, 4], [5, 6, 7, 1, 2, 3, 8]]
    harmless = script_of(*fork)
    mixed = script_of(*fork, topic_of={6: 1})

    assert slip(harmless, rules(harmless)) is None
    assert slip(mixed, rules(mixed)) == (2, 6)


def test_a_missing_rule_is_found() -> None:
    assert slip(script_of([1, 2]), []) == (0, 0)


def test_unknown_words_go_on_with_any_sentence() -> None:
    fallback = [rule for rule in rules(script_of([1, 2])) if rule.context[0] == ANY]

    assert Rule((ANY, ANY, 7), None, {1: 0.2, 2: 0.2}) in fallback
    assert Rule((ANY, ANY, 1), None, {2: 0.35}) in fallback


words = st.lists(st.integers(0, 9), min_size=1, max_size=12, unique=True)


@given(st.lists(words, min_size=1, max_size=8))
def test_answers_without_a_repeated_word_are_always_said(answers: list[list[int]]) -> None:
    script = script_of(*answers)

    assert slip(script, rules(script)) is None
