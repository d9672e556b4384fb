"""The loads that the bench puts on a proxy, and what the project has set itself for each."""

from dataclasses import dataclass
from math import inf
from typing import Any

TOKENS = 21
FLEET = "streamed query over endpoints"


@dataclass(frozen=True)
class Scenario:
    """One kind of load.

    Attributes:
        name: What is counted, for people.
        arguments: Of the load generator.
        body: What is asked.
        interval_us: Pace of the stub's events, 0 for as fast as they are taken.
        ceiling: The ratio to nginx that the project has set itself; of latencies see `Latency`.
        peers: Whether other routers can do it, too.
        peers_ceiling: The ratio to each of them that the project has set itself; inf for nothing.
    """

    name: str
    arguments: tuple[str, ...]
    body: dict[str, Any]
    interval_us: int
    ceiling: float = 0.0
    peers: bool = True
    peers_ceiling: float = inf


@dataclass(frozen=True)
class Latency:
    """What a proxy adds to the same load without one, in milliseconds.

    Attributes:
        scenario: The load.
        fields: The load generator's names of the median and of the 99th percentile.
        ceilings: What the project has set itself for each; inf for nothing.
    """

    scenario: Scenario
    fields: tuple[str, str]
    ceilings: tuple[float, float]


def chat(**fields: object) -> dict[str, Any]:
    """Return a body of about 574 bytes, the size that all published figures are for."""
    text = "Please tell me how a router decides which tier answers a question. " * 6
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}


SCENARIOS = (
    Scenario(
        "non-streamed query, 32 clients",
        ("http",),
        chat(max_tokens=TOKENS),
        0,
        6,
        peers_ceiling=1,
    ),
    Scenario(
        "streamed query of 21 tokens, 32 clients",
        ("sse", "--per-query"),
        chat(max_tokens=TOKENS, stream=True),
        0,
        4,
        peers_ceiling=0.75,
    ),
    Scenario(
        "query from the cache, 32 clients",
        ("http",),
        chat(max_tokens=TOKENS, temperature=0),
        0,
        2,
        peers=False,
    ),
    Scenario(
        "event of 100 streams x 50/s",
        ("sse", "--connections", "100", "--ramp", "2", "--warm-up", "1"),
        chat(max_tokens=100_000, stream=True),
        20_000,
        1.6,
    ),
)
WHOLE = ("p50_ms", "p99_ms")
LATENCIES = (
    Latency(
        Scenario(
            "whole answer, 256 clients, 500 ms upstream",
            ("sse", "--per-query", "--connections", "256", "--ramp", "1", "--warm-up", "1"),
            chat(max_tokens=1, stream=True),
            500_000,
        ),
        WHOLE,
        (inf, 1.5),
    ),
    Latency(
        Scenario(
            "first event, 32 clients, 20 ms upstream",
            ("sse", "--per-query"),
            chat(max_tokens=TOKENS, stream=True),
            20_000,
        ),
        ("first_p50_ms", "first_p99_ms"),
        (0.5, 1.0),
    ),
)
MEMORY = Scenario(
    "1,000 streams x 4/s",
    ("sse", "--connections", "1000", "--ramp", "2", "--warm-up", "2"),
    chat(max_tokens=100_000, stream=True),
    250_000,
)
MEMORY_CEILING_MIB = 100
FLEETS = (1, 100, 10_000)
