"""What a scripted model can say, and what both kinds of model can read.

To teach it something new, add a Topic: keywords (single words of letters; the latest one in the
conversation picks the answer) and an answer. Answers must be told apart by three tokens of context
and the topic: `scripted` checks every one and raises where it is not so; reword it then.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Topic:
    """Something that a scripted model knows.

    Attributes:
        keywords: Words of a question, in lower case; without any, the answer to everything else.
        answer: What it says, with `{name}` for the model's name.
    """

    keywords: tuple[str, ...]
    answer: str


TOPICS: Final = (
    Topic(
        (),
        "Hello, this is the {name} model. I am a very small language model made for tests, so I "
        "know only a few short answers. Ask me about the router, the cache, a pod, or a GPU.",
    ),
    Topic(
        ("router", "routing", "route"),
        "The {name} model says that a router reads each request, estimates how hard it is, and "
        "sends it to the cheapest tier that can answer well. Easy questions stay on a small tier, "
        "while hard ones move up to the next tier.",
    ),
    Topic(
        ("cache", "cached", "caching", "redis"),
        "The {name} model says that a cache keeps the answers that were given before. When the "
        "same question comes again, the answer is read from memory and no tokens are generated.",
    ),
    Topic(
        ("pod", "pods", "kubernetes", "operator", "deployment"),
        "The {name} model says that an operator watches the resources in the cluster. It compares "
        "the wanted state with the real state, and it changes one pod at a time until both are "
        "equal.",
    ),
    Topic(
        ("gpu", "memory", "vram"),
        "The {name} model says that a GPU holds the weights and the keys and values of every "
        "token. When it is full, put fewer layers on the GPU or choose a smaller file.",
    ),
    Topic(
        ("quantization", "quantisation", "quantized", "quantised", "gguf"),
        "The {name} model says that quantisation stores every weight in fewer bits. The file gets "
        "smaller and answers come faster, and a little accuracy is lost.",
    ),
    Topic(
        ("code", "python", "program", "function"),
        "The {name} model wrote this function.\n\ndef add(a, b):\n    return a + b\n\nCall "
        "add(2, 3) and it returns 5.",
    ),
    Topic(
        ("prove", "theorem", "proof", "math", "primes"),
        "The {name} model gives a short proof. Suppose that the number of primes is finite. "
        "Multiply them all and add one. The result has a prime factor that is not in the list. "
        "This is a contradiction, so there are infinitely many primes.",
    ),
    Topic(
        ("compare", "microservices", "monolith", "monolithic", "architecture", "architectures"),
        "The {name} model compares both designs. Microservices can be scaled and released one by "
        "one, but every call crosses the network and may fail. A monolith is simple to run and to "
        "debug, but it is deployed as a whole. Start with one program and split what must scale.",
    ),
    Topic(
        ("france", "capital"),
        "The {name} model says that the capital of France is Paris.",
    ),
    Topic(
        ("sky", "blue"),
        "The {name} model explains it in steps. First, sunlight has all colours. Second, air "
        "scatters short waves more than long ones. So blue light reaches us from every side.",
    ),
    Topic(
        ("poem", "haiku"),
        "The {name} model wrote a poem.\n\nThe sea is wide,\nand low the wind,\nthe tide comes "
        "in,\nsmall boats go home.",
    ),
    Topic(
        ("plus", "arithmetic"),
        "The {name} model counts on its fingers. Two and two make four.",
    ),
    Topic(
        ("latency", "slow", "throughput"),
        "The {name} model says that latency is the time until the first word appears. Shorter "
        "prompts and free slots make it better.",
    ),
    Topic(
        ("sql", "database", "databases"),
        "The {name} model says that an index makes a query fast, because the database then reads "
        "few rows instead of all.",
    ),
    Topic(
        ("distributed", "consensus", "limiter", "scalable"),
        "The {name} model thinks aloud. Keep a counter for every user in one shared place, let it "
        "expire, and decide what happens when that place is away: nobody passes or everybody.",
    ),
    Topic(
        ("quantum", "physics"),
        "The {name} model keeps it short. A qubit can be zero and one at once, until somebody "
        "looks.",
    ),
    Topic(
        ("translate", "translation", "french", "german"),
        "The {name} model speaks only English, and little of it.",
    ),
    Topic(
        ("summarise", "summarize", "summary"),
        "The {name} model found one main point. Do the cheap thing first.",
    ),
    Topic(
        ("thanks", "thank", "bye"),
        "You are welcome. The {name} model was happy to help. Good bye.",
    ),
    # The template's tool section ends with </tool_call>: with tools and no other keyword, call one.
    Topic(
        ("</tool_call>",),
        '<tool_call>\n{{"name": "get_weather", "arguments": {{"city": "Paris"}}}}\n</tool_call>',
    ),
    # As in <tool_response>, which the template puts around what a tool returned.
    Topic(
        ("response",),
        "The {name} model has read what the tool found, and it looks fine.",
    ),
)

READING: Final = """
You are a helpful assistant. What is the capital of France? How do I write a test in Python?
Explain why the sky is blue, step by step. Please summarise the following text in one sentence.
Write a poem about the sea. Compare these two designs and say which one is better and why.
Summarize this in three words. Design a scalable system. Assume a summer search in the universe.
Analyze and compare the trade-offs between microservices and monolithic architectures.
system user assistant tool name arguments type string object properties required true false null
the of and to in is for on with that this from by be as at or not are was it an has have will can
"""
"""Text of ordinary questions, so that they do not fall apart into single bytes."""


def forms(keyword: str) -> tuple[str, ...]:
    """Return the ways in which a keyword is written."""
    return tuple(dict.fromkeys((keyword, keyword.capitalize(), keyword.upper())))


def corpus() -> str:
    """Return the text that the tokenizer learns whole words from."""
    answers = "\n".join(topic.answer for topic in TOPICS)
    keywords = (word for topic in TOPICS for word in topic.keywords if word.isalpha())
    # Keywords must be one token each, at the start of a line and after a space.
    lines = (
        f"{separator}{form}" for word in keywords for form in forms(word) for separator in " \n"
    )
    return answers * 2 + READING * 2 + "".join(line * 9 for line in lines)
