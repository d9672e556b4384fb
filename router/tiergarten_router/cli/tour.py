"""The demo's tour as data: what is asked, what must be seen, and what is not as expected.

Pure: `queries` asks, `results` shows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Final

_FRANCE: Final = "What is the capital of France?"
_CONTEXT: Final = "You are a helpful assistant and remember all that follows. " * 400
"""Some 23,600 characters: more tokens than a slot of q2 has, and fewer than one of q3."""


class Kind(Enum):
    """How a step is asked."""

    QUERY = auto()  # /api/query
    CHAT = auto()  # a streamed chat
    BURST = auto()  # many queries at once
    KILLED = auto()  # a query right after all processes of the cheapest tier were killed


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the tour.

    Attributes:
        title: What it is about.
        text: What is asked.
        tier: The tier that must answer; empty when none may.
        why: Why that is expected, in a few words.
        kind: How it is asked.
        model: The mode or model that is asked for.
        context: What stands before the question in a chat.
        temperature: 0 for an answer that is always the same and so may be cached; None: not sent.
        status: The HTTP status that is expected.
        code: The error's code that is expected; empty for none.
        says: Words that the answer must hold, in any case.
        fallbacks: The tiers that must have been given up before, in order.
        replicas: How many replicas must have answered at least.
        cache: What the cache may say; empty when that does not matter.
    """

    title: str
    text: str
    tier: str
    why: str
    kind: Kind = Kind.QUERY
    model: str = "auto"
    context: str = ""
    temperature: float | None = None
    status: int = HTTPStatus.OK
    code: str = ""
    says: str = ""
    fallbacks: tuple[str, ...] = ()
    replicas: int = 0
    cache: frozenset[str] = frozenset()

    @property
    def expected(self) -> str:
        """What must be seen, for people."""
        who = " after ".join((self.tier, *self.fallbacks)) or str(int(self.status))
        return f"{who}: {self.why}"


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer, as a client sees it.

    Attributes:
        status: HTTP status; 0 when there was no answer at all.
        answer: What was said, or the error's message.
        code: The error's code; empty for an answer.
        tier: Who answered.
        endpoint: Which replica.
        score: The query's score.
        reasons: What the score comes from.
        first_ms: Milliseconds to the first content, None when that is not known.
        total_ms: Milliseconds to the end.
        speed: Tokens a second, None when that is not known.
        fallbacks: Tiers that were given up, in order.
        cache: What the cache says.
    """

    status: int
    answer: str
    code: str = ""
    tier: str = ""
    endpoint: str = ""
    score: str = ""
    reasons: str = ""
    first_ms: float | None = None
    total_ms: float = 0.0
    speed: float | None = None
    fallbacks: tuple[str, ...] = ()
    cache: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a step.

    Attributes:
        step: The step.
        seen: The answer; the slowest of many.
        replicas: Who answered.
        failures: What is not as expected, a phrase each.
    """

    step: Step
    seen: Seen
    replicas: tuple[str, ...]
    failures: tuple[str, ...]


STEPS: Final = (
    Step("easy question", _FRANCE, "q2", "the cheapest is enough", temperature=0, says="Paris"),
    Step(
        "hard question",
        "Analyze and compare the trade-offs between microservices and monolithic architectures",
        "q4",
        "the score is above 66",
        says="large model compares",
    ),
    Step(
        "code",
        "Write a Python function that reverses a linked list, with a docstring.",
        "q3",
        "the score is above 33",
        says="def ",
    ),
    Step(
        "proof",
        "Prove step by step that there are infinitely many primes.",
        "q3",
        "the score is above 33",
        says="contradiction",
    ),
    Step(
        "long context",
        _FRANCE,
        "q3",
        "easy, but too long for q2",
        Kind.CHAT,
        context=_CONTEXT,
        says="Paris",
    ),
    Step("streamed chat", "Tell me about the router.", "q2", "easy", Kind.CHAT, says="cheapest"),
    Step(
        "easy question again",
        _FRANCE,
        "q2",
        "by the cache",
        temperature=0,
        says="Paris",
        cache=frozenset({"hit"}),
    ),
    Step(
        "burst of 8",
        "Tell me about the cache.",
        "q2",
        "both replicas share it",
        Kind.BURST,
        says="small model",
        replicas=2,
    ),
    Step(
        "q2 killed",
        "Is Paris the capital of France?",
        "q3",
        "and q2 comes back",
        Kind.KILLED,
        says="Paris",
        fallbacks=("q2",),
    ),
    Step("q2 is back", "Thanks and bye!", "q2", "by itself", says="welcome"),
    Step(
        "unknown model",
        "Hello?",
        "",
        "names what there is",
        model="q9",
        status=HTTPStatus.NOT_FOUND,
        code="model_not_found",
        says="auto",
    ),
)


def judge(step: Step, answers: Sequence[Seen], also: Sequence[str] = ()) -> Result:
    """Return what became of a step.

    Args:
        step: The step.
        answers: What was seen; at least one answer.
        also: What else is not as expected.
    """
    failures = dict.fromkeys(told for seen in answers for told in _deviations(step, seen))
    replicas = tuple(sorted({seen.endpoint for seen in answers if seen.endpoint}))
    if len(replicas) < step.replicas:
        failures[f"{len(replicas)} replicas answered, not {step.replicas}"] = None
    slowest = max(answers, key=lambda seen: (seen.status != step.status, seen.total_ms))
    return Result(step, slowest, replicas, (*failures, *also))


def _deviations(step: Step, seen: Seen) -> Iterator[str]:
    if seen.status != step.status:
        yield f"status {seen.status}, not {int(step.status)}: {seen.answer}"
        return
    checks = (
        (seen.code == step.code, f"code {seen.code}, not {step.code}"),
        (seen.tier == step.tier, f"tier {seen.tier}, not {step.tier}"),
        (seen.fallbacks == step.fallbacks, f"given up: {seen.fallbacks}, not {step.fallbacks}"),
        (step.says.lower() in seen.answer.lower(), f"no {step.says!r} in the answer"),
        (not step.cache or seen.cache in step.cache, f"cache {seen.cache}"),
    )
    yield from (told for held, told in checks if not held)
