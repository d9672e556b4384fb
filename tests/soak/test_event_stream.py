"""The short form of the run under faults, and whether its checker finds what it looks for."""

import random
from pathlib import Path

import pytest

from event_stream import Client, Report, check, run
from tiergarten_router.events.client import Hole, Seen, Watcher
from tiergarten_router.events.kinds import Attempt


def seen(seq: int, name: str = "", epoch: str = "e") -> Seen:
    """Return an event as a client saw it."""
    return Seen(Attempt(1.0, name or f"{seq}", "q2", "q2-0", 1, "asked"), "p", epoch, seq)


@pytest.mark.parametrize(
    ("saw", "wrong"),
    [
        ([seen(1), seen(2), seen(3)], ""),
        ([seen(1), Hole("lagged", 2, 3), seen(4)], ""),
        ([seen(1), seen(2), Hole("epoch"), seen(1, "x", "f")], ""),
        ([seen(1), seen(3)], "an untold gap"),
        ([seen(1), seen(2), seen(2)], "came again"),
        ([seen(1), seen(1, "x", "f")], "an untold gap"),
        ([seen(1), Hole("jump", 2, 2), seen(3)], "an untold gap"),
        ([seen(1), seen(2, "other")], "acknowledged as p/2, seen as p/other"),
    ],
)
def test_the_checker_finds_what_breaks_a_promise(saw: list[Seen | Hole], wrong: str) -> None:
    report = Report(1, acknowledged={("e", 2): "p/2"})

    check([Client(1, Watcher("http://x"), saw)], report)

    assert [wrong in problem for problem in report.problems[:1]] == [True] * bool(wrong)


@pytest.mark.timeout(400)
async def test_every_promise_holds_under_faults(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)  # noqa: S311 -- a seed keeps no secret

    report = await run(tmp_path, 10, seed)

    print(report)  # noqa: T201 -- the seed, to repeat a run that failed
    assert report.problems == []
    assert report.seen > 1000
    assert report.faults.total() >= 3
