"""Word salad: words, sentences of the wanted length, another one for another prompt."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from llama_process import LlamaProcess
from tiergarten_llama.models.noise import PRESETS, noise


def ask(server: LlamaProcess, text: str, **fields: object) -> dict[str, str]:
    body = {"messages": [{"role": "user", "content": text}], "temperature": 0} | fields
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=30).json()
    choice = answer["choices"][0]
    return {"text": choice["message"]["content"], "finish": choice["finish_reason"]}


@pytest.fixture
def server(
    random_model: Callable[[str], Path], llama_server: Callable[..., LlamaProcess]
) -> LlamaProcess:
    return llama_server(random_model("tiny"))


def test_it_says_words_that_depend_on_the_whole_prompt(server: LlamaProcess) -> None:
    one, other = (ask(server, f"{word} and the rest", max_tokens=20)["text"] for word in "ab")

    assert one != other
    assert all(letter.isalpha() or letter in " ,." for letter in one + other)


def test_it_ends_by_itself_and_goes_on_when_it_must(server: LlamaProcess) -> None:
    ends = [ask(server, f"question {number}", max_tokens=1000, temperature=1, seed=number)["finish"]
            for number in range(5)]  # fmt: skip # two clauses, two lines
    forced = ask(server, "x", max_tokens=300, ignore_eos=True)

    assert ends == ["stop"] * 5
    assert forced["finish"] == "length"


def test_seeds_give_other_weights_and_the_same_seed_the_same() -> None:
    one, again, other = (noise("tiny", seed, 48).tensors["output.weight"] for seed in (1, 1, 2))

    assert (one == again).all()
    assert not (one == other).all()


def test_a_longer_mean_reply_makes_the_end_less_likely() -> None:
    short, long = (noise("tiny", 0, mean) for mean in (10, 100))
    end = short.tokenizer.id["<|im_end|>"]

    assert short.tensors["output.weight"][end, 0] > long.tensors["output.weight"][end, 0]


def test_presets_grow() -> None:
    sizes = [shape.width * shape.layers for shape in PRESETS.values()]

    assert sizes == sorted(sizes)
    with pytest.raises(ValueError, match="'huge' is not one of tiny, small, medium, large"):
        noise("huge", 0, 48)
