"""`tiergarten events`: a line each, holes shown, and an end where there is one."""

import asyncio
import sys
from asyncio.subprocess import PIPE

import pytest

from routing import CHAT, Published, ask, free_port, routing
from tiergarten_router.cli import events
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.events.client import Here, Hole, Seen, Watcher
from tiergarten_router.events.kinds import Completed, Routed

PROGRAM = (sys.executable, "-c", "from tiergarten_router.cli.main import main; main()")
DONE = Completed(0.5, "a-1", "q2", "tiny", "q2-0", 3, 1, (), "off", 0, 12.34, 56.78, 3, None, 9.0)


async def run(*arguments: str) -> tuple[int, str, str]:
    """Run the program and return its exit code and what it says."""
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, "events", *arguments, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_past_is_printed_and_the_program_ends() -> None:
    async with routing(Published(Snapshot())) as client:
        await client.post(CHAT, json=ask())
        code, out, _ = await run("--url", str(client.base_url), "--kind", "query.", "--last", "9")

    assert code == 0
    assert [line.split()[1] for line in out.splitlines()] == ["query.received", "query.failed"]


async def test_a_refusal_is_told() -> None:
    async with routing(Published(Snapshot())) as client:
        code, _, err = await run("--url", str(client.base_url), "--kind", "nonsense")

    assert code == 2
    assert "fits no kind" in err


async def test_what_happens_is_followed() -> None:
    async with routing(Published(Snapshot())) as client:
        shown: list[str] = []
        enough = asyncio.Event()

        def show(line: str) -> None:
            shown.append(line)
            if "query.failed" in line:
                enough.set()

        watcher = Watcher(str(client.base_url), latest=1)
        following = asyncio.create_task(events.print_events(watcher, show, None))
        async with asyncio.timeout(20):
            while not enough.is_set():
                await client.post(CHAT, json=ask())
                await asyncio.sleep(0.05)  # until it has subscribed
        following.cancel()

    assert any("query.received" in line for line in shown)


def test_nobody_who_answers_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    watcher = Watcher(f"http://127.0.0.1:{free_port()}")

    code = events.main(watcher, follow=False, seconds=0.2)

    assert code == 1
    assert "no router answers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        (Hole("outage"), "-- events may be missing: outage"),
        (Hole("lagged", 3, 9), "-- events may be missing: lagged 3 to 9"),
        (Here("e", 4), "-- e:4"),
    ],
)
def test_notices_have_a_line(item: Hole | Here, shown: str) -> None:
    assert events.line(item) == shown


def test_events_have_a_line_with_their_fields_and_place() -> None:
    line = events.line(Seen(DONE, "r", "e", 7))
    lost = events.line(Seen(DONE, "r", "", 0))

    assert "query.completed" in line
    assert "first_token_ms=12.3" in line
    assert "fallbacks=- " in line
    assert "completion_tokens=- " in line
    assert line.endswith("[7]")
    assert lost.endswith("[not durable]")


def test_lists_are_written_with_commas() -> None:
    routed = Routed(0.5, "a-1", "auto", "Threshold", "q2", ("q2", "q4"), 3, ("code",))

    assert "tiers=q2,q4 " in events.line(Seen(routed, "r", "e", 7))
