"""A child dies with its parent, and a program that cannot be started says so."""

import asyncio
import os
import select
import signal
import sys
from asyncio.subprocess import PIPE

from tiergarten_router.sources import launch

IMPORT = "from tiergarten_router.sources import launch"
PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, {launcher!r}, str(os.getpid()), "sleep", "600"])
print(child.pid, flush=True)
sys.stdin.read()
"""


async def run(code: str) -> tuple[str, str]:
    """Run Python and return its output and its errors."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=PIPE, stderr=PIPE
    )
    output, errors = await program.communicate()
    return output.decode().strip(), errors.decode()


async def test_knows_its_parent():
    output, _ = await run(f"{IMPORT}; print(launch.tie({os.getpid()}))")

    assert output == "True"


async def test_knows_when_its_parent_has_died_already():
    output, _ = await run(f"{IMPORT}; print(launch.tie(1))")

    assert output == "False"


async def test_a_program_that_cannot_be_started_is_named():
    output, errors = await run(f"{IMPORT}; print(launch.main(['{os.getpid()}', 'no-such', '-x']))")

    assert output == str(launch.NOT_STARTED)
    assert errors == "no-such cannot be started: No such file or directory\n"


async def test_starts_nothing_for_a_parent_that_is_gone():
    output, _ = await run(f"{IMPORT}; print(launch.main(['1', 'echo', 'here']))")

    assert output == str(launch.NOT_STARTED)


async def test_a_child_does_not_survive_a_killed_parent():
    code = PARENT.format(launcher=launch.__file__)
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=PIPE, stdin=PIPE
    )
    assert parent.stdout
    child = os.pidfd_open(int(await parent.stdout.readline()))

    parent.send_signal(signal.SIGKILL)
    await parent.wait()

    ended, _, _ = await asyncio.to_thread(select.select, [child], [], [], 10)
    os.close(child)
    assert ended
