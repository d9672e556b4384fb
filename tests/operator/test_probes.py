"""The operator's own HTTP server."""

import socket

import httpx
import pytest

from tiergarten_operator import probes
from tiergarten_operator.errors import NotUsable


async def test_reasons_are_told_and_metrics_served() -> None:
    why = {"ill": "", "unready": "the watches are not up"}
    answers = probes.Answers(lambda: why["ill"], lambda: why["unready"], lambda: b"up 1\n")

    async with probes.serve(answers, 0, "127.0.0.1") as port, httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{port}"
        well = await client.get(f"{url}/healthz")
        unready = await client.get(f"{url}/readyz")
        metrics = await client.get(f"{url}/metrics")

    assert (well.status_code, well.text) == (200, "ok\n")
    assert (unready.status_code, unready.text) == (503, "the watches are not up\n")
    assert metrics.text == "up 1\n"
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")


async def test_a_port_that_somebody_else_has_is_named() -> None:
    answers = probes.Answers(str, str, bytes)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(NotUsable, match=f"port {port}: .*TIERGARTEN_HTTP_PORT"):
            async with probes.serve(answers, port, "127.0.0.1"):
                pass
