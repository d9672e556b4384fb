"""An embedded Valkey runs while it is needed, for this user only, and never longer."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tiergarten_router.sources import valkey
from tiergarten_router.sources.valkey import ValkeyNotStarted

RUNS = """
import asyncio, os, pathlib, sys
from tiergarten_router.sources import valkey
async def main():
    async with valkey.running(pathlib.Path(sys.argv[1])) as url:
        print(pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text(), flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


def socket_of(url):
    return Path(url.removeprefix("unix://"))


async def test_runs_for_the_block_and_for_this_user_only(tmp_path):
    async with valkey.running(tmp_path) as url:
        async with Redis.from_url(url) as client:
            await client.set("key", "value")
            assert await client.get("key") == b"value"
            assert (await client.config_get("port"))["port"] == "0"
            assert (await client.config_get("save"))["save"] == ""
        assert socket_of(url).stat().st_mode & 0o777 == 0o700
        assert tmp_path.stat().st_mode & 0o777 == 0o700

    assert not socket_of(url).exists()


async def test_a_socket_that_was_left_behind_is_no_trouble(tmp_path):
    (tmp_path / "valkey.sock").touch()

    async with valkey.running(tmp_path) as url, Redis.from_url(url) as client:
        assert await client.ping()


async def test_a_path_that_is_too_long_is_told(tmp_path):
    with pytest.raises(ValkeyNotStarted, match="set TMPDIR to a shorter folder"):
        async with valkey.running(tmp_path / ("x" * 100)):
            pass


async def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ValkeyNotStarted, match="No such file or directory"):
        async with valkey.running(tmp_path / "none"):
            pass


async def test_a_valkey_that_ends_at_once_is_told_with_its_words(tmp_path):
    (tmp_path / "valkey.sock/full").mkdir(parents=True)  # where its socket should be

    with pytest.raises(ValkeyNotStarted, match=r"Valkey ended: .+"):
        async with valkey.running(tmp_path):
            pass


async def test_a_valkey_that_does_not_answer_in_time_is_told(tmp_path):
    with pytest.raises(ValkeyNotStarted, match="did not answer within 0 s"):
        async with valkey.running(tmp_path, start_seconds=0):
            pass


async def test_does_not_survive_a_killed_parent(tmp_path, deaths):
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUNS, str(tmp_path), stdout=PIPE
    )
    assert parent.stdout
    (child,) = (await parent.stdout.readline()).split()
    deaths.watch(int(child))

    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()

    assert await deaths.of(int(child))
