"""The table of topics can be searched and said."""

import pytest

from tiergarten_llama.models.text import TOPICS, Topic, corpus, forms
from tiergarten_llama.models.tokenizer import Tokenizer

TOKENIZER = Tokenizer(corpus(), 2400)


def test_no_keyword_belongs_to_two_topics() -> None:
    keywords = [keyword for topic in TOPICS for keyword in topic.keywords]

    assert len(set(keywords)) == len(keywords)


def test_only_the_default_answer_has_no_keywords() -> None:
    assert [bool(topic.keywords) for topic in TOPICS] == [False, *[True] * (len(TOPICS) - 1)]


@pytest.mark.parametrize("keyword", [word for topic in TOPICS for word in topic.keywords])
def test_a_keyword_is_one_token_however_it_is_written(keyword: str) -> None:
    written = [space + form for form in forms(keyword) for space in (" ", "")]
    if not keyword.isalpha():  # the mark of a tool call is always written the same
        written = [keyword]

    assert [len(TOKENIZER.encode(text)) for text in written] == [1] * len(written)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: " ".join(topic.keywords) or "default")
def test_an_answer_takes_the_models_name_and_is_ascii(topic: Topic) -> None:
    answer = topic.answer.format(name="q2")

    assert answer.isascii()
    assert "q2" in answer or answer.startswith("<tool_call>")
