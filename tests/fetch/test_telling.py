"""The one question that a running fetch answers."""

import asyncio

import httpx
import pytest

from tiergarten_fetch import telling


async def test_progress_is_told_and_nothing_else() -> None:
    async with (
        telling.told(lambda: b'[{"file":"a"}]', 0, "127.0.0.1") as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        answer = await client.get("/progress")
        assert answer.json() == [{"file": "a"}]
        assert answer.headers["content-type"] == "application/json"
        assert (await client.get("/spec/model.json")).status_code == 404
        assert (await client.post("/progress")).status_code == 404


@pytest.mark.parametrize("asked", [b"GET /progress HTTP/1.1\r\nHost: x", b"A" * 20_000])
async def test_who_asks_badly_gets_no_answer_and_the_next_one_does(asked: bytes) -> None:
    async with telling.told(lambda: b"[]", 0, "127.0.0.1") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asked)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()

        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/progress")
        assert answer.json() == []


async def test_without_a_port_nobody_listens() -> None:
    async with telling.told(lambda: b"[]", None) as port:
        assert port is None
