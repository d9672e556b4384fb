"""A scripted model says every answer word for word, through llama.cpp."""

from collections.abc import Callable

import httpx
import numpy as np
import pytest

from llama_process import LlamaProcess
from tiergarten_llama.models.scripted import MAX_TOPICS, script
from tiergarten_llama.models.text import TOPICS, Topic

SPOKEN = [topic for topic in TOPICS if "</tool_call>" not in topic.keywords]
FILLER = "the user says that it is fine. " * 400
TOUR = [
    ("What is the capital of France?", "the capital of France is Paris"),
    (
        "Analyze and compare the trade-offs between microservices and monolithic architectures",
        "compares both designs",
    ),
    ("Write a Python function that reverses a string", "def add(a, b):\n    return a + b"),
    ("How does the router choose?", "sends it to the cheapest tier"),
    ("Prove that there are infinitely many primes", "gives a short proof"),
    ("Explain why the sky is blue, step by step", "explains it in steps"),
    ("Thanks!", "happy to help"),
    ("Good morning", "I am a very small language model"),
    (f"Why is the sky blue? {FILLER}", "air scatters short waves"),
    ("First the cache, then the GPU", "a GPU holds the weights"),
]


def said(server: LlamaProcess, *texts: str) -> tuple[str, str]:
    """Return what follows a conversation, and why it ends."""
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]
    body = {"messages": messages, "temperature": 0, "max_tokens": 200}
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=30).json()
    return answer["choices"][0]["message"]["content"], answer["choices"][0]["finish_reason"]


@pytest.fixture
def server(scripted_server: Callable[..., LlamaProcess]) -> LlamaProcess:
    return scripted_server("q2", "--parallel", "1")


@pytest.mark.parametrize("topic", SPOKEN, ids=lambda topic: " ".join(topic.keywords) or "default")
def test_every_answer_is_said_word_for_word(topic: Topic, server: LlamaProcess) -> None:
    for keyword in topic.keywords or ("Anything",):
        assert said(server, f"Tell me about {keyword} please") == (
            topic.answer.format(name="q2"),
            "stop",
        )


@pytest.mark.parametrize(("question", "part"), TOUR, ids=[question[:20] for question, _ in TOUR])
def test_questions_get_an_answer_that_fits(question: str, part: str, server: LlamaProcess) -> None:
    assert part in said(server, question)[0]


def test_the_latest_keyword_of_a_conversation_counts(server: LlamaProcess) -> None:
    first = said(server, "Tell me about the cache")[0]
    second = said(server, "Tell me about the cache", first, "and why is the sky blue?")[0]

    assert "a cache keeps" in first
    assert "sunlight" in second


def test_a_quantised_cache_changes_nothing(scripted_server: Callable[..., LlamaProcess]) -> None:
    quantised = ("--flash-attn", "on", "--cache-type-k", "q4_0", "--cache-type-v", "q4_0")
    server = scripted_server("q2", "--parallel", "1", *quantised)

    assert said(server, "Prove it")[0] == next(
        topic.answer.format(name="q2") for topic in TOPICS if "prove" in topic.keywords
    )


@pytest.mark.parametrize("name", ["q4", "small", "gpu", "cache", "my tier", "Zoë"])
def test_any_name_can_be_said(name: str) -> None:
    network = script(name, TOPICS)

    assert network.tensors["token_embd.weight"].shape[0] == len(network.tokenizer.tokens)


def test_every_embedding_has_the_length_that_the_norms_count_on() -> None:
    embedding = script("q2", TOPICS).tensors["token_embd.weight"]

    assert np.allclose((embedding**2).sum(1), 4.0, atol=1e-3)


def test_topics_that_cannot_be_told_apart_are_refused() -> None:
    repeating = Topic(("again",), "x one two three four one two three five")

    with pytest.raises(ValueError, match="goes on after 'x one two three four one two three'"):
        script("q2", [*TOPICS, repeating])


def test_too_many_topics_are_refused() -> None:
    topics = [Topic((), "x")] * (MAX_TOPICS + 1)

    with pytest.raises(ValueError, match=f"more than {MAX_TOPICS}"):
        script("q2", topics)
