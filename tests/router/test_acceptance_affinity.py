"""Conversations on real llama.cpp: their turns go where their beginning is held."""

import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from llama_process import LlamaProcess
from routing import CHAT, Published, routing, series, tier
from tiergarten_router.core.snapshot import Snapshot

CONVERSATIONS, TURNS, REPLICAS, AT_ONCE = 9, 4, 3, 3
SYSTEM_WORDS = 100  # some 400 tokens of the test models
WORDS = Path(__file__).read_text("utf-8").split()


class ServerFactory(Protocol):
    def __call__(self, model: Path, *arguments: str) -> LlamaProcess: ...


@dataclass
class Conversation:
    """A client's side of a conversation, and what it saw of the router."""

    messages: list[dict[str, str]]
    endpoints: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def conversations(seed: int) -> list[Conversation]:
    drawn = random.Random(seed)  # noqa: S311 -- a test's words
    systems = [" ".join(drawn.choices(WORDS, k=SYSTEM_WORDS)) for _ in range(CONVERSATIONS)]
    return [Conversation([{"role": "system", "content": text}]) for text in systems]


async def turn(client: httpx.AsyncClient, talk: Conversation, model: str) -> None:
    talk.messages.append({"role": "user", "content": f"And then? ({len(talk.messages)})"})
    body = {"model": model, "messages": talk.messages, "stream": True, "max_tokens": 8}
    begin, said = time.monotonic(), ""
    async with client.stream("POST", CHAT, json=body) as found:
        assert found.status_code == 200
        talk.endpoints.append(found.headers["x-tiergarten-endpoint"])
        async for line in found.aiter_lines():
            if line.startswith("data: {"):
                delta: dict[str, Any] = json.loads(line[6:])["choices"][0]["delta"]
                if not said and delta.get("content"):
                    talk.seconds.append(time.monotonic() - begin)
                said += delta.get("content") or ""
    talk.messages.append({"role": "assistant", "content": said})


async def hold(client: httpx.AsyncClient, talks: list[Conversation], models: list[str]) -> None:
    """Take all conversations through their turns, some at once, in a shuffled order."""
    drawn = random.Random(1)  # noqa: S311 -- a test's order
    for number in range(TURNS):
        order = list(enumerate(talks))
        drawn.shuffle(order)
        room = asyncio.Semaphore(AT_ONCE)

        async def one(index: int, talk: Conversation, number: int, room: Any) -> None:
            async with room:
                await turn(client, talk, models[(index + number) % len(models)])

        await asyncio.gather(*(one(index, talk, number, room) for index, talk in order))


@pytest.fixture
async def three(
    llama_server: ServerFactory, random_model: Callable[[str], Path]
) -> AsyncIterator[httpx.AsyncClient]:
    """A router over one tier of three replicas, and over each of them as a tier of its own."""
    arguments = ("--ctx-size", "12288", "--parallel", "3", "--cache-ram", "256")
    servers = [
        await asyncio.to_thread(llama_server, random_model("small"), *arguments)
        for _ in range(REPLICAS)
    ]
    urls = [server.url for server in servers]
    whole = tier("q2", *urls, slots=3)
    pinned = [tier(f"r{number}", url, slots=3) for number, url in enumerate(urls)]
    async with routing(Published(Snapshot((whole, *pinned)))) as client:
        yield client


async def test_turns_go_where_their_prefix_is_and_begin_sooner_than_in_turn(
    three: httpx.AsyncClient,
) -> None:
    in_turn, by_prefix = conversations(1), conversations(2)
    await hold(three, in_turn, [f"r{number}" for number in range(REPLICAS)])
    await hold(three, by_prefix, ["q2"])

    later = [s for talk in by_prefix for s in talk.seconds[1:]]
    later_in_turn = [s for talk in in_turn for s in talk.seconds[1:]]
    pairs = [p for talk in by_prefix for p in zip(talk.endpoints, talk.endpoints[1:], strict=False)]
    stayed = sum(before == after for before, after in pairs) / len(pairs)
    held = series((await three.get("/metrics")).text, "prefix_queries_total")
    sys.stdout.write(
        f"affinity: {stayed:.0%} of {len(pairs)} later turns on the replica that holds the prefix;"
        f" first token {1000 * statistics.median(later):.0f} ms, round robin"
        f" {1000 * statistics.median(later_in_turn):.0f} ms; {held}\n"
    )
    assert stayed >= 0.95
    assert held['result="hit",tier="q2"'] >= 0.95 * len(pairs)
    assert statistics.median(later) < statistics.median(later_in_turn)
    assert len({talk.endpoints[0] for talk in by_prefix}) == REPLICAS
