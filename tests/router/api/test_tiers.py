"""What there is and how it is doing, over HTTP."""

from typing import Any

from routing import CHAT, ask, route, tier
from tiergarten_router.core.snapshot import Endpoint, ReplicaState, Snapshot, Tier, TierStatus
from upstream import Upstream


async def test_tiers_show_their_replicas_and_what_was_measured(router: Any) -> None:
    async with Upstream() as up:
        q2 = tier("q2", up.url, latency_objective_seconds=2, cost=0.05)
        client = await router(Snapshot((q2,)))
        await client.post(CHAT, json=ask())

        shown = (await client.get("/v1/tiers/q2")).json()

        assert shown["ready"]
        assert shown["slots_total"] == 4
        assert shown["cost_per_million_tokens"] == 0.05
        assert shown["latency"]["objective_seconds"] == 2
        assert shown["latency"]["met"] is True
        replica = shown["replicas"][0]
        assert replica["id"] == "q2-0"
        assert replica["state"] == "ready"
        assert replica["answered"] == 1
        assert replica["tokens_per_second"] == 400.0
        assert replica["breaker"] == "closed"
        assert replica["latency_ms"] > 0


async def test_tiers_show_progress_reasons_and_problems(router: Any) -> None:
    fetching = TierStatus("Fetching", "of the hub", 5, 10, 100, "Q2_K")
    loading = Endpoint("q2-0", "", ReplicaState.LOADING, "loads its model", 3, 4096)
    q2 = Tier("q2", "m", 10, 4, 4096, endpoints=(loading,), status=fetching)
    client = await router(Snapshot((q2,), (route("q2", "q9"), route("q2", model="auto"))))

    body = (await client.get("/v1/tiers")).json()

    shown = body["tiers"][0]
    assert (shown["reason"], shown["fetched_bytes"], shown["total_bytes"]) == ("Fetching", 5, 10)
    assert (shown["quantization"], shown["memory_bytes"]) == ("Q2_K", 100)
    assert shown["latency"] == {"objective_seconds": None, "measured_seconds": None, "met": None}
    assert shown["replicas"][0]["message"] == "loads its model"
    assert shown["replicas"][0]["last_check_seconds_ago"] is None
    assert not shown["ready"]
    assert "q9" in body["routes"][0]["problems"][0]
    assert body["problems"]  # two routes for one model name


async def test_an_unknown_tier_is_told_which_there_are(router: Any) -> None:
    client = await router(Snapshot((tier("q2"),)))

    found = await client.get("/v1/tiers/q9")

    assert found.status_code == 404
    assert found.json()["error"]["code"] == "not_found"
    assert "there are: q2" in found.json()["error"]["message"]


async def test_models_are_routes_model_names_and_tiers(router: Any) -> None:
    client = await router(Snapshot((tier("q2", model="org/tiny:1"), tier("q3", model="b"))))

    listed = (await client.get("/v1/models")).json()
    one = (await client.get("/v1/models/org/tiny:1")).json()
    none = await client.get("/v1/models/q9")

    assert [model["id"] for model in listed["data"]] == ["auto", "b", "org/tiny:1", "q2", "q3"]
    assert listed["object"] == "list"
    assert one["object"] == "model"
    assert one["tiers"] == ["q2"]
    assert none.status_code == 404
    assert none.json()["error"]["code"] == "model_not_found"


async def test_a_tier_of_another_namespace_is_found_by_its_whole_name(router: Any) -> None:
    client = await router(Snapshot((tier("team/q2"), tier("q2"))))

    assert (await client.get("/v1/tiers/team/q2")).json()["name"] == "team/q2"
    assert (await client.get("/v1/models/team/q2")).json()["id"] == "team/q2"
