"""`tiergarten explain` asks a running router and prints what it says."""

import asyncio
import io
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from routing import free_port, tier
from tiergarten_router.cli import explain
from tiergarten_router.cli.main import cli
from tiergarten_router.core.snapshot import Snapshot
from upstream import Upstream


async def printed(text: str, model: str, url: str) -> tuple[int, str]:
    console = Console(file=io.StringIO(), width=140)
    code = await asyncio.to_thread(explain.main, text, model, url, console)
    assert isinstance(console.file, io.StringIO)
    return code, console.file.getvalue()


async def test_the_way_of_a_query_is_a_table(router: Any) -> None:
    async with Upstream() as up:
        vision = tier("q4", up.url, embeddings=True)
        client = await router(Snapshot((tier("q2", up.url, cost=0.5), tier("q3", up.url), vision)))

        code, text = await printed("Compare [red]A[/red] and B", "tiny", str(client.base_url))

        assert code == 0
        assert "score" in text
        assert "comparison" in text
        assert "q2-0" in text
        assert "q3-0" in text
        assert "0.5" in text
        assert "serves embeddings only" in text
        assert "at most 3 attempts" in text
        assert not up.queries


async def test_a_model_that_nobody_has_is_told_with_those_there_are(router: Any) -> None:
    client = await router(Snapshot((tier("q2", "http://127.0.0.1:9"),)))

    code, text = await printed("hi", "[b]nope", str(client.base_url))

    assert code == 1
    assert "there are: auto" in text


async def test_a_route_that_has_no_tier_for_it_is_told(router: Any) -> None:
    client = await router(Snapshot((tier("q2", "http://127.0.0.1:9", embeddings=True),)))

    code, text = await printed("hi", "q2", str(client.base_url))

    assert code == 0
    assert "No tier of q2 can answer this" in text


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://[", "nonsense"])
def test_no_router_is_told_with_the_address(url: str) -> None:
    told = CliRunner().invoke(cli, ["explain", "hi", "--url", url.format(port=free_port())])

    assert told.exit_code == 1
    assert "no router answers there" in told.output
