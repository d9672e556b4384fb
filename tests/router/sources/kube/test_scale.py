"""What a snapshot of 10,000 endpoints costs, and that what has not changed is not made again."""

import json
import time
from pathlib import Path

import pytest

from slices import DRAINING, READY, Manifest, piece, pod, tier
from tiergarten_router.core.snapshot import Snapshot
from tiergarten_router.fleet import Fleet
from tiergarten_router.settings import Settings
from tiergarten_router.sources.kube import reading
from tiergarten_router.sources.kube.login import ServiceAccount
from tiergarten_router.sources.kube.objects import Key
from tiergarten_router.sources.kube.source import KubeSource, Scope

ENDPOINTS = 10_000
SECONDS = 0.5  # an order of magnitude more than a quiet machine takes


def encoded(body: Manifest) -> tuple[Key, bytes]:
    body["metadata"]["namespace"] = "ns"
    return ("ns", body["metadata"]["name"]), json.dumps(body).encode()


class Filled:
    """A source that has seen a number of tiers with all endpoints in slices of 100."""

    def __init__(self, folder: Path, tiers: int) -> None:
        account = ServiceAccount("https://nowhere", folder)
        self.source = KubeSource(account, Scope(("ns",), "ns"), time.monotonic)
        self.each = ENDPOINTS // tiers
        for index in range(tiers):
            key, raw = encoded(tier(f"q{index}"))
            self.source._tiers.put(key, reading.tier(raw))
            for first in range(0, self.each, 100):
                self.put(index, first, READY)

    def put(self, index: int, first: int, said: Manifest) -> None:
        count = min(100, self.each - first)
        numbers = range(index * self.each + first, index * self.each + first + count)
        pods = [pod(f"10.9.{n // 256}.{n % 256}", f"q{index}-{n}", said) for n in numbers]
        key, raw = encoded(piece(f"q{index}-{first}", *pods, tier=f"q{index}"))
        self.source._slices.put(key, reading.rows(raw))


@pytest.mark.parametrize("tiers", [1, 100, 2000])
async def test_a_snapshot_of_10_000_endpoints_does_not_stall_the_loop(
    tmp_path: Path, tiers: int
) -> None:
    filled = Filled(tmp_path, tiers)
    fleet = Fleet(Settings(), time.monotonic, lambda: 0.5)
    before = filled.source.snapshot()
    fleet.replace(before)

    costs = []
    for _ in range(5):
        for said in (DRAINING, READY):
            filled.put(0, 0, said)
            began = time.perf_counter()
            snapshot = filled.source.snapshot()
            assert snapshot != before
            fleet.replace(snapshot)
            costs.append(time.perf_counter() - began)
            before = snapshot

    best = f"{1000 * min(costs):.1f} ms"
    print(f"{tiers} tiers, {ENDPOINTS} endpoints: {best} a snapshot")  # noqa: T201 -- a figure to see
    assert sum(len(it.endpoints) for it in before.tiers) == ENDPOINTS
    assert min(costs) < SECONDS


def test_what_has_not_changed_is_the_same_object(tmp_path: Path) -> None:
    filled = Filled(tmp_path, 100)
    before = filled.source.snapshot()

    filled.put(7, 0, DRAINING)
    after = filled.source.snapshot()

    changed = [
        old.name for old, new in zip(before.tiers, after.tiers, strict=True) if old is not new
    ]
    assert changed == ["q7"]
    assert isinstance(filled.source.snapshot(), Snapshot)
    assert filled.source.snapshot() == after
