"""What a pod does before it stops: its own script, with the shell and curl, against a server."""

import asyncio
import shutil
import time
from collections.abc import Iterable

from behaviours import Behaviour, Request, Step, page
from parts import missing
from tiergarten_operator.desired import server
from upstream import Upstream

KEY = "a-key-of-the-test-only"
IDLE = "llamacpp:requests_processing 0\nllamacpp:requests_deferred 0\nllamacpp:n_tokens_max 7\n"
BUSY = IDLE.replace("processing 0", "processing 1")
WAITING = IDLE.replace("deferred 0", "deferred 2")


async def drain(port: int, seconds: int = 30, blind: int = 1) -> float:
    """Run the script without its first pause, and return the seconds that it took."""
    if shutil.which("curl") is None:
        missing("curl")
    command = ("/bin/sh", "-c", server.DRAIN, "drain", *map(str, (seconds, port, blind, 0)))
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(*command, env={"LLAMA_API_KEY": KEY})
    assert await asyncio.wait_for(process.wait(), 40) == 0
    return time.monotonic() - began


def turns(*bodies: str, late_seconds: float = 0) -> Behaviour:
    """Return a page that says one thing after the other, and the last one for ever."""
    left = list(bodies)

    def steps(request: Request) -> Iterable[Step]:
        last = len(left) == 1
        body = left[0] if last else left.pop(0)
        if late_seconds and not last:
            yield late_seconds
        yield from page(body)(request)

    return steps


async def test_a_server_that_is_idle_stops_after_two_looks() -> None:
    async with Upstream(pages={"/metrics": turns(IDLE)}) as idle:
        assert await drain(idle.port) < 6

    looks = [it for it in idle.requests if it.path == "/metrics"]
    assert len(looks) == 2
    assert {it.headers["authorization"] for it in looks} == {f"Bearer {KEY}"}


async def test_a_server_that_answers_or_has_queries_waiting_goes_on() -> None:
    said = (BUSY, IDLE, WAITING, IDLE)  # once idle is not enough: the next query may be on its way
    async with Upstream(pages={"/metrics": turns(*said)}) as busy:
        await drain(busy.port)

    assert len([it for it in busy.requests if it.path == "/metrics"]) == len(said) + 1


async def test_a_server_that_is_late_with_its_metrics_is_busy() -> None:
    async with Upstream(pages={"/metrics": turns(IDLE, IDLE, late_seconds=7)}) as late:
        assert await drain(late.port) > 5

    assert len([it for it in late.requests if it.path == "/metrics"]) == 3


async def test_the_longest_wait_is_kept() -> None:
    async with Upstream(pages={"/metrics": turns(BUSY)}) as busy:
        assert await drain(busy.port, seconds=2) < 9


async def test_a_server_that_tells_nothing_is_given_a_fixed_time() -> None:
    async with Upstream(pages={"/metrics": page({"error": "no"}, 401)}) as closed:
        assert 1 <= await drain(closed.port, blind=1) < 6


async def test_a_server_that_still_loads_serves_nobody() -> None:
    async with Upstream(pages={"/metrics": page({"error": "Loading model"}, 503)}) as loading:
        assert await drain(loading.port, blind=20) < 6


async def test_a_server_that_is_gone_is_not_waited_for() -> None:
    async with Upstream() as gone:
        port = gone.port
    assert await drain(port) < 6
