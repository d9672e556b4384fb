"""The demo's queries as data: what is asked, what must be seen, and how it is shown."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import httpx
from rich.console import JustifyMethod
from rich.table import Table

import tiergarten_api
from tiergarten_llama import models

MODELS: Final = ("small", "medium", "large")
CHAT: Final = "/v1/chat/completions"
ANSWER_SHOWN: Final = 48
NOT_FOUND: Final = 404
LONG: Final = "Please remember this line about the router and the cache. " * 130


@dataclass(frozen=True, slots=True)
class Step:
    """One query of the tour.

    Attributes:
        title: What it shows.
        text: What is asked.
        tiers: The tiers that may answer; empty when an error is expected.
        kind: How it is sent: query, stream, burst or killed.
        model: The mode or model that is asked for.
        says: A word that the answer must hold.
        falls_back: Whether another tier must have been tried before.
        replicas: How many replicas must have answered.
    """

    title: str
    text: str
    tiers: frozenset[str]
    kind: str = "query"
    model: str = "auto"
    says: str = ""
    falls_back: bool = False
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a step.

    Attributes:
        step: The step.
        status: HTTP status.
        tier: Who answered.
        endpoint: Which replica.
        score: The query's score.
        reasons: What the score comes from.
        first_ms: Milliseconds to the first content.
        total_ms: Milliseconds to the end.
        speed: Tokens a second, None when not told.
        answer: What was said, or the error's message.
        fallbacks: Tiers that were given up.
        replicas: How many replicas answered.
        failures: What is not as expected, a phrase each.
    """

    step: Step
    status: int
    tier: str = ""
    endpoint: str = ""
    score: str = ""
    reasons: str = ""
    first_ms: float = 0.0
    total_ms: float = 0.0
    speed: float | None = None
    answer: str = ""
    fallbacks: tuple[str, ...] = ()
    replicas: int = 1
    failures: tuple[str, ...] = ()


STEPS: Final = (
    Step("easy question", "What is the capital of France?", frozenset({"q2"}), says="Paris"),
    Step(
        "hard question",
        "Analyze and compare the trade-offs between microservices and monolithic architectures",
        frozenset({"q4"}),
        says="large",
    ),
    Step(
        "code",
        "Write a Python function that reverses a linked list, with a docstring.",
        frozenset({"q3", "q4"}),
        says="def",
    ),
    Step(
        "proof",
        "Prove step by step that there are infinitely many primes.",
        frozenset({"q3", "q4"}),
        says="prime",
    ),
    Step("long prompt", LONG, frozenset({"q3", "q4"})),
    Step("stream", "Tell me about the router.", frozenset({"q2"}), "stream", says="router"),
    Step("same question again", "What is the capital of France?", frozenset({"q2"}), says="Paris"),
    Step("burst of 8", "Tell me about the cache.", frozenset({"q2"}), "burst", replicas=2),
    Step(
        "cheapest tier killed",
        "What is the capital of France?",
        frozenset({"q3", "q4"}),
        "killed",
        says="Paris",
        falls_back=True,
    ),
    Step("back again", "Thanks and bye!", frozenset({"q2"}), says="welcome"),
    Step("unknown model", "Hello?", frozenset(), model="q9"),
)


def write(folder: Path) -> None:
    """Write the models and `tiers.yaml`; models that are there stay."""
    (folder / "models").mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        path = folder / "models" / f"{name}.gguf"
        if not path.exists():
            models.write_scripted(path, name)
    (folder / "tiers.yaml").write_text(example(), encoding="utf-8")


def example() -> str:
    """Return the demo's YAML: in a wheel beside this module, in a checkout among the examples."""
    packaged = resources.files(__package__) / "demo.yaml"
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    crds = Path(tiergarten_api.__file__).parents[1]
    return (crds / "examples" / "demo.yaml").read_text(encoding="utf-8")


async def asked(http: httpx.AsyncClient, step: Step) -> Seen:
    """Send a step as a query and return what became of it."""
    answer = await http.post("/api/query", json={"query": step.text, "mode": step.model})
    body = answer.json()
    if answer.status_code != httpx.codes.OK:
        return judged(Seen(step, answer.status_code, answer=body["error"]["message"]))
    return judged(
        Seen(
            step,
            answer.status_code,
            body["model_tier"],
            answer.headers["x-tiergarten-endpoint"],
            str(body["score"]),
            ", ".join(body["reasons"]),
            body["time_to_first_token_ms"],
            body["latency_ms"],
            body["tokens"]["per_second"],
            body["response"],
            tuple(body["fallbacks"]),
        )
    )


async def streamed(http: httpx.AsyncClient, step: Step) -> Seen:
    """Send a step as a streamed chat and return what became of it, with times as a client sees."""
    body = {"model": step.model, "messages": [{"role": "user", "content": step.text}]}
    begin, first, text = perf_counter(), 0.0, ""
    async with http.stream("POST", CHAT, json={**body, "stream": True}) as answer:
        async for line in answer.aiter_lines():
            piece = said(line)
            if piece and not text:
                first = perf_counter() - begin
            text += piece
    headers = answer.headers
    return judged(
        Seen(
            step,
            answer.status_code,
            headers.get("x-tiergarten-tier", ""),
            headers.get("x-tiergarten-endpoint", ""),
            headers.get("x-tiergarten-score", ""),
            headers.get("x-tiergarten-reasons", ""),
            1000 * first,
            1000 * (perf_counter() - begin),
            answer=text,
        )
    )


def said(line: str) -> str:
    """Return the content that a line of a chat stream carries."""
    data = line.removeprefix("data: ")
    if not data.startswith("{"):
        return ""
    event: dict[str, Any] = json.loads(data)
    return "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ()))


def merged(step: Step, found: Sequence[Seen]) -> Seen:
    """Return many answers to one step as one: the slowest, with the replicas of all."""
    used = sorted({one.endpoint for one in found})
    worst = max(found, key=lambda one: (one.status, one.total_ms))
    failures = tuple(failure for one in found for failure in one.failures)
    many = replace(worst, step=step, endpoint=", ".join(used), replicas=len(used))
    return judged(replace(many, answer=f"{worst.answer} [{', '.join(used)}]"), failures)


def judged(seen: Seen, before: tuple[str, ...] = ()) -> Seen:
    """Return what was seen with all that is not as expected."""
    step = seen.step
    failures = [failure for failure in before if not failure.startswith("replicas")]
    if not step.tiers:
        if seen.status != NOT_FOUND:
            failures.append(f"status {seen.status}, not {NOT_FOUND}")
        return replace(seen, failures=tuple(failures))
    if seen.status != httpx.codes.OK:
        failures.append(f"status {seen.status}: {seen.answer}")
    elif seen.tier not in step.tiers:
        failures.append(f"tier {seen.tier}, not {' or '.join(sorted(step.tiers))}")
    if step.says.lower() not in seen.answer.lower():
        failures.append(f"no {step.says!r} in the answer")
    if step.falls_back and not seen.fallbacks:
        failures.append("no fallback")
    if seen.replicas < step.replicas:
        failures.append(f"replicas {seen.replicas}, not {step.replicas}")
    return replace(seen, failures=tuple(failures))


def table(seen: Sequence[Seen]) -> Table:
    """Return the tour as a table."""
    shown = Table(title="The tour", show_lines=False)
    for heading, justify in (
        ("query", "left"), ("tier", "left"), ("score", "right"), ("reasons", "left"),
        ("first ms", "right"), ("total ms", "right"), ("tokens/s", "right"), ("answer", "left"),
    ):  # fmt: skip
        side: JustifyMethod = "right" if justify == "right" else "left"
        shown.add_column(heading, justify=side, no_wrap=True)
    for one in seen:
        given_up = f" after {', '.join(one.fallbacks)}" if one.fallbacks else ""
        shown.add_row(
            one.step.title,
            f"{one.tier}{given_up}" or str(one.status),
            one.score,
            one.reasons,
            f"{one.first_ms:.0f}" if one.tier else "",
            f"{one.total_ms:.0f}" if one.tier else "",
            f"{one.speed:.0f}" if one.speed else "",
            short(one.answer),
        )
    return shown


def short(answer: str) -> str:
    """Return an answer as it fits a table."""
    line = " ".join(answer.split())
    return line if len(line) <= ANSWER_SHOWN else line[: ANSWER_SHOWN - 1] + "…"


def next_steps(url: str) -> str:
    """Return what to try next."""
    chat = '{"model": "auto", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'
    return f"""Try:
  curl {url}/api/query -d '{{"query": "Tell me about the cache"}}'
  curl -N {url}{CHAT} -d '{chat}'
  curl {url}/v1/tiers
  open {url}/docs"""
