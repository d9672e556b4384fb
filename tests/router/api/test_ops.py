"""Operations: liveness, readiness, metrics and the API's own description."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from routing import CHAT, Published, ask, routing, tier
from tiergarten_router.core.snapshot import Snapshot
from upstream import Upstream


async def test_readiness_waits_for_the_first_snapshot() -> None:
    source = Published(None)
    async with routing(source) as client:
        before = await client.get("/readyz")
        assert source.publish is not None
        source.publish(Snapshot((tier("q2"), tier("q3", "http://127.0.0.1:9"))))
        after = await client.get("/readyz")

        assert (before.status_code, before.json()["status"]) == (503, "starting")
        assert (after.status_code, after.json()["status"]) == (200, "ready")
        assert after.json()["tiers_ready"] == ["q3"]
        assert after.json()["tiers_waiting"] == ["q2"]
        assert after.json()["source"] == {"reachable": True, "age_seconds": 0.0, "message": ""}
        assert (await client.get("/healthz")).json() == {"status": "ok"}


async def test_metrics_are_what_prometheus_reads(router: Any) -> None:
    async with Upstream() as up:
        client = await router(Snapshot((tier("q2", up.url),)))
        await client.post(CHAT, json=ask())

        text = (await client.get("/metrics")).text

        families = {family.name: family for family in text_string_to_metric_families(text)}
        assert all(family.documentation for family in families.values())
        assert families["tiergarten_router_requests"].samples[0].value == 1
        assert families["tiergarten_router_tier_ready_replicas"].samples[0].value == 1
        first = families["gen_ai_server_time_to_first_token_seconds"]
        assert first.samples[-1].value > 0
        assert "process_resident_memory_bytes" in families


async def test_the_description_lists_the_hot_doors_too(router: Any) -> None:
    client = await router(Snapshot())

    document = (await client.get("/openapi.json")).json()
    again = (await client.get("/openapi.json")).json()

    assert {CHAT, "/v1/embeddings", "/api/query", "/v1/tiers", "/readyz"} <= set(document["paths"])
    assert {"/v1/events", "/v1/events/sse", "/v1/answers/{id}/stream"} <= set(document["paths"])
    references = str(document).split("#/components/schemas/")[1:]
    names = {reference.partition("'")[0] for reference in references}
    assert names <= set(document["components"]["schemas"])
    assert document == again
    assert (await client.get("/docs")).status_code == 200


async def test_unknown_paths_and_parameters_are_errors_in_openai_s_shape(router: Any) -> None:
    client = await router(Snapshot())

    found = await client.get("/nothing", headers={"x-request-id": "r1"})

    assert found.status_code == 404
    assert found.json()["error"]["code"] == "not_found"
    assert found.headers["x-request-id"] == "r1"
