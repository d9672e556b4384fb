"""What a router says that it would do, and that it does that."""

import asyncio
from typing import Any

import httpx
import pytest

from routing import CHAT, ask, in_flight, route, tier
from tiergarten_router.core.snapshot import Endpoint, ReplicaState, Snapshot
from upstream import BEFORE_BYTE, Upstream, always, answer, error, insert, saturated

EXPLAIN = "/v1/route/explain"
HARD = "Analyze and compare the trade-offs between microservices and monolithic architectures"


async def explained(client: httpx.AsyncClient, **body: object) -> dict[str, Any]:
    found = await client.post(EXPLAIN, json=body)
    assert found.status_code == 200, found.text
    told: dict[str, Any] = found.json()
    return told


def taken(told: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (tier["tier"], replica["id"])
        for tier in told["candidates"]
        for replica in tier["replicas"]
        if tier["taken"] and replica["taken"]
    ]


async def test_the_score_the_route_and_the_way_are_told_and_nobody_is_asked(router: Any) -> None:
    async with Upstream() as up:
        tiers = (tier("q2", up.url), tier("q3", up.url, cost=2.5), tier("q4", up.url))
        client = await router(Snapshot(tiers))

        told = await explained(client, query=HARD)

        assert told["score"] > 60
        assert told["reasons"] == ["analysis", "comparison"]
        assert (told["route"], told["origin"], told["strategy"]) == (
            "auto",
            "built-in",
            "Threshold",
        )
        assert [tier["tier"] for tier in told["candidates"]] == ["q4", "q3", "q2"]
        assert taken(told) == [("q4", "q4-0")]
        assert told["candidates"][1]["cost_per_million_tokens"] == 2.5
        assert told["max_attempts"] == 3
        assert told["retries_left"] == 3
        assert not up.queries
        assert await in_flight(client) == 0
        metrics = (await client.get("/metrics")).text
        assert "tiergarten_router_requests_total{" not in metrics


async def test_what_is_told_is_what_happens(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url, up.url, up.url),)))
        long = ask("a long question " * 50)

        told = await explained(client, **long)
        found = await client.post(CHAT, json=long)
        again = await explained(client, **long)

        assert told["conversation"]
        assert taken(told) == [("q2", found.headers["x-tiergarten-endpoint"])]
        assert taken(again) == taken(told)
        whys = {r["id"]: r["why"] for r in again["candidates"][0]["replicas"]}
        assert whys.pop(taken(again)[0][1]) == "holds the conversation"
        assert set(whys.values()) == {"another is less loaded or holds the conversation"}


async def test_a_chat_s_own_header_names_the_conversation(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)), affinity_header="X-Chat")

        found = await client.post(EXPLAIN, json=ask(), headers={"x-chat": "one"})

        assert found.json()["conversation"]
        assert not (await explained(client, **ask()))["conversation"]


async def test_why_each_replica_would_not_be_asked_is_told(router: Any) -> None:
    broken = always(error(500, "boom", "server_error"))
    async with Upstream(broken) as bad, Upstream(always(saturated(30))) as full, Upstream() as good:
        endpoints = (
            Endpoint("q2-0", bad.url),
            Endpoint("q2-1", full.url),
            Endpoint("q2-2", "", ReplicaState.LOADING, "loads its model"),
            Endpoint("q2-3", good.url),
            Endpoint("q2-4", good.url),
            Endpoint("q2-5", good.url),
        )
        client = await router(Snapshot((tier("q2", endpoints=endpoints),)))
        while len(bad.queries) < 5:
            await client.post(CHAT, json=ask())

        told = await explained(client, **ask())

        whys = {r["id"]: r["why"] for r in told["candidates"][0]["replicas"]}
        assert whys["q2-0"].startswith("breaker open, next probe in")
        assert whys["q2-1"].startswith("rests for")
        assert whys["q2-2"] == "loads its model"
        assert {"chosen", "another is less loaded or holds the conversation"} <= set(whys.values())


async def test_a_tier_without_a_slot_is_waited_for_and_one_that_is_full_is_not(router: Any) -> None:
    held = asyncio.Event()
    slow, full = always(insert(answer(), BEFORE_BYTE, held)), always(saturated(30))
    async with Upstream(slow) as a, Upstream(full) as b:
        tiers = (tier("q2", b.url), tier("q3", a.url, slots=1), tier("q4"))
        policy = route("q4", "q2", "q3")
        client = await router(Snapshot(tiers, (policy,)))
        open_ = asyncio.create_task(client.post(CHAT, json=ask()))
        await a.until(lambda: len(a.queries) == 1)

        told = await explained(client, **ask())

        assert [(c["tier"], c["taken"]) for c in told["candidates"]] == [
            ("q4", False),
            ("q2", False),
            ("q3", True),
        ]
        assert "none may be asked" in told["candidates"][0]["why"]
        assert "all are full or loading" in told["candidates"][1]["why"]
        assert "every slot is taken, 0 wait" in told["candidates"][2]["why"]
        assert told["candidates"][2]["replicas"][0]["why"] == "every slot is taken"
        held.set()
        assert (await open_).status_code == 200


async def test_tiers_that_cannot_answer_are_told_with_the_reason(router: Any) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    client = await router(Snapshot((tier("q2", "http://127.0.0.1:9"),)))

    told = await explained(client, model="auto", messages=[{"role": "user", "content": [image]}])

    assert told["candidates"] == []
    assert told["refused"] == [{"tier": "q2", "why": "lacks vision"}]
    assert "lacks vision" in told["error"]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"query": "x", "mode": "nope"}, 404, "model"),
        ({"model": "nope", "messages": [{"role": "user", "content": "x"}]}, 404, "model"),
        ({"query": ""}, 400, "query"),
        ({}, 400, "query"),
        ({"model": "auto", "messages": []}, 400, "messages"),
    ],
)
async def test_what_is_no_query_is_refused_as_elsewhere(
    router: Any, body: dict[str, object], status: int, param: str
) -> None:
    client = await router(Snapshot((tier("q2", "http://127.0.0.1:9"),)))

    found = await client.post(EXPLAIN, json=body)

    assert found.status_code == status
    assert found.json()["error"]["param"] == param
