"""A child process is started, read, measured and ended."""

import asyncio
import os
import select
import signal
import sys

import pytest

from tiergarten_router.sources.process import LINE_CHARACTERS, LINES, Process, race

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"


def python(code: str) -> list[str]:
    return [sys.executable, "-uc", code]


async def until_printed(process: Process, line: str) -> None:
    async with asyncio.timeout(10):
        while line not in process.last_lines(LINES):  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.01)


async def test_tells_exit_code_and_last_lines_of_both_outputs():
    code = "import sys; print('two', file=sys.stderr); print('end', end=''); sys.exit(3)"

    process = await Process.start(python(code), {})

    assert await process.wait() == 3
    assert process.ended
    assert process.last_lines(2) == ("two", "end")


async def test_reads_any_amount_of_output_and_keeps_a_bounded_part():
    process = await Process.start(python("print('x' * 5_000_000); print(*range(5000))"), {})

    await process.wait()

    kept = process.last_lines(LINES)
    assert len(kept) <= LINES
    assert all(len(line) <= LINE_CHARACTERS for line in kept)


async def test_gets_its_environment_and_nothing_else():
    code = "import os; print(os.environ.get('HOME'), os.environ['A'])"

    process = await Process.start(python(code), {"A": "b"})

    await process.wait()
    assert process.last_lines(1) == ("None b",)


async def test_is_the_leader_of_a_group_of_its_own():
    process = await Process.start(
        python("import os; print(os.getpgrp() == os.getpid() == os.getsid(0))"), {}
    )

    await process.wait()

    assert process.last_lines(1) == ("True",)


async def test_a_program_that_is_not_there_ends_at_once_and_says_so():
    process = await Process.start(["no-such-program"], {"PATH": "/bin"})

    assert await process.wait() == 127
    assert "no-such-program cannot be started" in process.last_lines(1)[0]


async def test_stop_asks_first():
    process = await Process.start(["sleep", "600"], {"PATH": "/bin"})

    await process.stop(10)

    assert await process.wait() == -signal.SIGTERM


async def test_stop_kills_what_does_not_listen():
    process = await Process.start(python(STUBBORN), {})
    await until_printed(process, "up")

    await process.stop(0.05)

    assert await process.wait() == -signal.SIGKILL


async def test_kills_what_it_started_too():
    code = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid)"
    process = await Process.start(python(f"{code}; {STUBBORN}"), {"PATH": "/bin"})
    await until_printed(process, "up")
    grandchild = os.pidfd_open(int(process.last_lines(2)[0]))

    process.kill()
    await process.wait()
    process.kill()  # nothing is left to kill, and nothing is raised

    ended, _, _ = await asyncio.to_thread(select.select, [grandchild], [], [], 10)
    os.close(grandchild)
    assert ended


async def test_tells_its_memory_while_it_is_there():
    process = await Process.start(["sleep", "600"], {"PATH": "/bin"})
    assert process.resident_bytes()

    await process.stop(10)

    assert process.resident_bytes() is None


async def test_race_returns_the_first_and_ends_the_others():
    ended = []

    async def forever():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("forever")

    assert await race(forever(), asyncio.sleep(0)) == 1
    assert ended == ["forever"]


async def test_race_raises_what_the_first_raised():
    async def fails():
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        await race(fails(), asyncio.Event().wait())


async def test_race_ends_all_when_it_is_cancelled():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await race(asyncio.Event().wait(), asyncio.Event().wait())
