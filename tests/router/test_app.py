"""The router as a whole: how it starts, takes snapshots over, and ends."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from routing import CHAT, Published, ask, routing, tier
from tiergarten_router import app, logs
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.settings import Settings
from transcripts import payloads
from upstream import AFTER_HEADERS, End, Upstream, after_content, always, answer, cut, insert


async def test_a_source_that_fails_ends_the_router_with_its_error() -> None:
    source = Published(Snapshot(), failure=ValueError("the API is gone"))

    with pytest.raises(ValueError, match="the API is gone"):
        async with routing(source) as client:
            assert (await client.get("/readyz")).status_code == 200


async def test_a_snapshot_is_taken_over_while_queries_go_on() -> None:
    held = asyncio.Event()
    async with (
        Upstream([insert(answer("old"), AFTER_HEADERS, held)]) as old,
        Upstream(always(answer("new"))) as new,
    ):
        source = Published(Snapshot((tier("q2", old.url),)))
        async with routing(source) as client:
            asked = asyncio.create_task(client.post(CHAT, json=ask()))
            await old.until(lambda: len(old.queries) == 1)
            assert source.publish is not None
            source.publish(Snapshot((tier("q2", new.url), tier("q3"))))

            second = await client.post(CHAT, json=ask())
            held.set()

            assert second.json()["choices"][0]["message"]["content"] == "new"
            assert (await asked).json()["choices"][0]["message"]["content"] == "old"
            source.publish(Snapshot((tier("q3"),)))
            assert (await client.post(CHAT, json=ask(model="q2"))).status_code == 404


async def test_an_answer_on_its_way_is_finished_before_the_end() -> None:
    async with Upstream(always(answer("one two three", gap=0.1))) as up:
        source = Published(Snapshot((tier("q2", up.url),)))
        async with routing(source, drain_seconds=5) as client:
            asked = asyncio.create_task(client.post(CHAT, json=ask(stream=True)))
            await up.until(lambda: len(up.queries) == 1)
            source.ended.set()

            assert (await asked).text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("begun", [True, False], ids=["begun", "not begun"])
async def test_an_answer_that_outlasts_the_grace_is_ended_honestly(*, begun: bool) -> None:
    hangs = cut(answer(), after_content(1) if begun else AFTER_HEADERS, End.HANG)
    async with Upstream(always(hangs)) as up:
        source = Published(Snapshot((tier("q2", up.url),)))
        async with routing(source, drain_seconds=0.2) as client:
            asked = asyncio.create_task(client.post(CHAT, json=ask(stream=True)))
            await up.until(lambda: len(up.queries) == 1)
            source.ended.set()
            found = await asked

    if begun:
        assert payloads(found.text)[-1]["error"]["code"] == "no_ready_tier"
        assert "[DONE]" not in found.text
    else:
        assert found.status_code == 503
        assert found.headers["retry-after"] == "1"


async def test_a_port_that_is_taken_ends_the_router(router: Any) -> None:
    client = await router(Snapshot())

    with pytest.raises(SystemExit):
        await app.serve(
            Settings(ops_port=0), Published(None), host="127.0.0.1", port=client.base_url.port or 0
        )


@pytest.mark.parametrize("path", ["/nowhere", "/v1/tiers/q9", "/v1/models/none"])
async def test_errors_of_all_doors_have_one_shape_and_an_id(router: Any, path: str) -> None:
    client: httpx.AsyncClient = await router(Snapshot())

    mine = await client.get(path, headers={"x-request-id": "mine-1"})
    hostile = await client.get(path, headers={"x-request-id": "x" * 65})

    assert mine.status_code == 404
    assert set(mine.json()["error"]) == {"message", "type", "code", "param"}
    assert mine.headers["x-request-id"] == "mine-1"
    assert hostile.headers["x-request-id"] != "x" * 65


async def test_tiers_that_share_a_model_name_answer_to_it_by_difficulty(router: Any) -> None:
    async with Upstream() as up:
        shared = [replace(tier(name, up.url), model="chat") for name in ("q2", "q4")]
        client = await router(Snapshot(tuple(shared)))
        hard = "Analyze and compare the trade-offs between microservices and monoliths"

        easy = await client.post(CHAT, json=ask("What is it?", model="chat"))
        difficult = await client.post(CHAT, json=ask(hard, model="chat"))

        assert easy.headers["x-tiergarten-tier"] == "q2"
        assert difficult.headers["x-tiergarten-tier"] == "q4"


async def test_the_log_names_queries_and_never_what_they_say(
    router: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(Settings(log_level="debug", log_format="json"))
    async with Upstream(always(answer("a secret answer"))) as up:
        client = await router(
            Snapshot((tier("q2", up.url, api_key="sk-secret"),)), log_level="debug"
        )
        headers = {"x-request-id": "mine-1", "authorization": "Bearer sk-client"}

        await client.post(CHAT, json=ask("a secret question"), headers=headers)

    said = capsys.readouterr().err
    line = next(json.loads(line) for line in said.splitlines() if "query_completed" in line)
    assert (line["request_id"], line["tier"], line["outcome"]) == ("mine-1", "q2", "ok")
    assert "secret" not in said
    assert "sk-" not in said
