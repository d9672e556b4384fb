"""A llama-server is started, watched, started again, drained and ended."""

import asyncio
import contextlib
import json
import os
import signal
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiergarten_router.core.snapshot import ReplicaState
from tiergarten_router.sources import ports
from tiergarten_router.sources.replica import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    WELL_SECONDS,
    Backoff,
    Bounds,
    Replica,
    ending,
)
from tiergarten_router.sources.template import Template
from tiergarten_router.upstream import probe

READY, LOADING, FAILED = ReplicaState.READY, ReplicaState.LOADING, ReplicaState.FAILED
DRAINING, PENDING = ReplicaState.DRAINING, ReplicaState.PENDING
ROOMY = Bounds(30, 30)
SERVER = (sys.executable, "-m", "tiergarten_llama.server", "--host", "127.0.0.1")


def is_in(replica, state):
    return lambda: replica.endpoint.state is state


@contextlib.asynccontextmanager
async def living(template, watched, bounds=ROOMY):
    """Run a replica; whatever is left of it is ended."""
    replica = Replica("q2", 0, template, bounds, ports.free, watched.changed)
    task = asyncio.create_task(replica.run())
    try:
        yield replica, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@given(st.lists(st.floats(0, WELL_SECONDS * 2), max_size=40))
def test_pauses_double_up_to_a_bound_and_start_anew_after_a_good_time(lives):
    backoff = Backoff()
    assert backoff.seconds == 0

    for ready_seconds in lives:
        before, backoff = backoff, backoff.after(ready_seconds)

        assert FIRST_PAUSE_SECONDS <= backoff.seconds <= LONGEST_PAUSE_SECONDS
        if ready_seconds >= WELL_SECONDS:
            assert backoff.seconds == FIRST_PAUSE_SECONDS
        elif before.failures:
            assert backoff.seconds == min(before.seconds * 2, LONGEST_PAUSE_SECONDS)


@pytest.mark.parametrize(
    ("code", "lines", "said"),
    [
        (1, ("loading", "error: bad flag", "bye"), "ended with exit code 1: error: bad flag"),
        (1, ("a", "b", "c", "d"), "ended with exit code 1: b | c | d"),
        (0, (), "ended with exit code 0"),
        (-11, (), "was ended by signal 11 (Segmentation fault)"),
        (-9, (), "was ended by signal 9 (Killed, perhaps for want of memory)"),
    ],
    ids=["the errors", "the last lines", "silence", "a signal", "SIGKILL"],
)
def test_an_end_is_told_with_its_reason(code, lines, said):
    assert ending(code, lines) == f"llama-server {said}"


async def test_gets_ready_with_an_address_and_its_memory(stand_in, watched):
    async with living(stand_in(), watched) as (replica, _):
        assert replica.endpoint.state is PENDING
        assert replica.endpoint.url == ""

        await watched.until(is_in(replica, READY))

        assert replica.endpoint.id == "q2-0"
        assert replica.endpoint.url == f"http://127.0.0.1:{replica.port}"
        assert replica.endpoint.memory_bytes > 1_000_000
        assert replica.endpoint.message == ""
        assert replica.endpoint.restarts == 0


async def test_a_killed_server_is_started_again(stand_in, watched):
    async with living(stand_in(), watched) as (replica, _):
        await watched.until(is_in(replica, READY))

        os.kill(replica.pid, signal.SIGKILL)

        await watched.until(is_in(replica, FAILED))
        assert "signal 9" in replica.endpoint.message
        assert "is started again in 1 s" in replica.endpoint.message
        assert (replica.endpoint.url, replica.endpoint.memory_bytes) == ("", None)
        await watched.until(is_in(replica, READY))
        assert replica.endpoint.restarts == 1


async def test_a_server_that_ends_at_once_is_told_with_its_last_lines(stand_in, watched):
    async with living(stand_in("--fail", "error: invalid argument: --mlock"), watched) as (r, _):
        await watched.until(is_in(r, FAILED))
        assert "exit code 3: error: invalid argument: --mlock" in r.endpoint.message

        await watched.until(lambda: "in 2 s" in r.endpoint.message)

        assert r.endpoint.restarts == 1


async def test_a_server_that_cannot_even_be_started_is_tried_again(watched):
    async with living(Template(("x" * 200_000,)), watched) as (replica, _):
        await watched.until(is_in(replica, FAILED))

        assert "Argument list too long; is started again in 1 s" in replica.endpoint.message


async def test_a_server_that_does_not_get_ready_in_time_is_ended(stand_in, watched, deaths):
    async with living(stand_in("--loading"), watched, Bounds(1, 30)) as (replica, _):
        await watched.until(is_in(replica, LOADING))
        pid = replica.pid
        deaths.watch(pid)

        await watched.until(is_in(replica, FAILED))

        assert "not ready after 1 s (rollout.startupTimeoutSeconds)" in replica.endpoint.message
        assert await deaths.of(pid)


async def test_an_idle_server_is_drained_and_ends(stand_in, watched, deaths):
    async with living(stand_in(), watched) as (replica, task):
        await watched.until(is_in(replica, READY))
        deaths.watch(replica.pid)
        url = replica.endpoint.url

        replica.retire()

        assert (replica.endpoint.state, replica.endpoint.url) == (DRAINING, url)
        await asyncio.wait_for(task, 20)
        assert await deaths.of(replica.pid)


async def test_a_server_that_loads_is_ended_at_once(stand_in, watched):
    async with living(stand_in("--loading", "--deaf"), watched) as (replica, task):
        await watched.until(is_in(replica, LOADING))

        replica.retire()
        replica.retire()  # again changes nothing

        await asyncio.wait_for(task, 3)


async def test_a_server_that_waits_for_its_next_start_is_not_started(stand_in, watched):
    async with living(stand_in("--fail", "no"), watched) as (replica, task):
        await watched.until(is_in(replica, FAILED))

        replica.retire()

        await asyncio.wait_for(task, 3)
        assert replica.endpoint.restarts == 0


async def test_a_server_with_queries_is_ended_after_the_bound(stand_in, watched):
    async with living(stand_in("--busy"), watched, Bounds(30, 0.6)) as (replica, task):
        await watched.until(is_in(replica, READY))
        replica.retire()

        done, _ = await asyncio.wait([task], timeout=0.3)
        assert not done

        await asyncio.wait_for(task, 10)


async def test_nothing_is_waited_for_when_all_must_end(stand_in, watched):
    async with living(stand_in("--busy"), watched) as (replica, task):
        await watched.until(is_in(replica, READY))
        replica.retire()

        replica.retire(drain=False)

        await asyncio.wait_for(task, 10)


async def test_a_server_that_dies_while_it_drains_is_not_missed(stand_in, watched):
    async with living(stand_in("--busy"), watched) as (replica, task):
        await watched.until(is_in(replica, READY))
        replica.retire()

        os.kill(replica.pid, signal.SIGKILL)

        await asyncio.wait_for(task, 10)


async def test_a_cancelled_replica_leaves_nothing(stand_in, watched, deaths):
    async with living(stand_in("--deaf"), watched) as (replica, _):
        await watched.until(is_in(replica, READY))
        deaths.watch(replica.pid)

    assert await deaths.of(replica.pid)


async def test_memory_is_told_when_it_has_changed(stand_in, watched):
    async with living(stand_in(), watched) as (replica, task):
        replica.sample()  # nothing runs yet
        await watched.until(is_in(replica, READY))
        before = replica.endpoint

        replica.sample()
        replica.sample()

        assert replica.endpoint.memory_bytes >= before.memory_bytes // 2
        replica.retire()
        await asyncio.wait_for(task, 20)
        replica.sample()  # nothing runs any more


async def test_a_real_server_finishes_its_stream_before_it_ends(scripted_model, watched):
    model = str(scripted_model("small"))
    argv = (*SERVER, "--model", model, "--threads", "1", "--ctx-size", "2048", "--metrics",
            "--threads-http", "16", "--port", "0")  # fmt: skip
    async with living(Template(argv), watched) as (replica, task):
        await watched.until(is_in(replica, READY))
        reader, writer = await stream(replica.port, tokens=1500)
        assert b"data:" in await reader.readuntil(b"data:")

        replica.retire()
        answer = await reader.read()

        assert b"[DONE]" in answer  # not cut, as SIGTERM alone would
        writer.close()
        await asyncio.wait_for(task, 20)
        assert not (await probe.check(f"http://127.0.0.1:{replica.port}", 5)).healthy


async def stream(port, tokens):
    """Begin a streamed answer of exactly so many tokens."""
    messages = [{"role": "user", "content": "Tell me about the cache please"}]
    body = json.dumps({"messages": messages, "stream": True, "max_tokens": tokens,
                       "ignore_eos": True}).encode()  # fmt: skip
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return reader, writer
