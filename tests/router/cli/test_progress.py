"""What a terminal and a log show while tiers are fetched and loaded."""

import io

import pytest
from rich.console import Console

from tiergarten_router.cli.progress import Progress, describe
from tiergarten_router.core.snapshot import Endpoint, ReplicaState, Snapshot, Tier, TierStatus


def tier(status: TierStatus, *states: ReplicaState) -> Tier:
    endpoints = tuple(
        Endpoint(f"q2-{i}", "http://h", state, message="" if state is ReplicaState.READY else "why")
        for i, state in enumerate(states)
    )
    return Tier("q2", "m", 10, 4, 4096, endpoints=endpoints, status=status)


FETCHING = tier(TierStatus("Fetching", fetched_bytes=25_000_000, total_bytes=100_000_000))
LOADING = tier(TierStatus("Loading"), ReplicaState.READY, ReplicaState.LOADING)
READY = tier(TierStatus("Serving"), ReplicaState.READY, ReplicaState.READY)
BROKEN = tier(TierStatus("NotGGUF", "small.gguf is no GGUF file"))


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (FETCHING, "fetching 25% of 100 MB"),
        (LOADING, "Loading, 1 of 2 replicas ready: why"),
        (READY, "ready, 2 of 2 replicas"),
        (BROKEN, "NotGGUF: small.gguf is no GGUF file"),
        (tier(TierStatus("Suspended")), "Suspended"),
    ],
    ids=["fetching", "loading", "ready", "broken", "suspended"],
)
def test_a_tier_is_described_in_a_line(shown: Tier, line: str) -> None:
    assert describe(shown) == line


@pytest.mark.parametrize("terminal", [True, False])
def test_each_state_is_said_once(terminal: bool) -> None:  # noqa: FBT001 -- a parameter of the test
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)

    with Progress(console) as progress:
        for shown in (FETCHING, LOADING, LOADING, READY, READY):
            progress.show(Snapshot((shown,)))

    assert out.getvalue().count("q2: ready, 2 of 2 replicas") == 1
    assert ("Fetching" in out.getvalue()) is False
