"""The router as the bench runs it: one tier over fixed addresses, every feature on.

python target.py [--endpoints N] PORT UPSTREAM_PORT...
"""

import argparse
import asyncio
import os
from collections.abc import Callable, Sequence

import uvloop

from tiergarten_router import app, logs
from tiergarten_router.core.snapshot import Endpoint, Snapshot, Tier
from tiergarten_router.settings import Settings

QUIET = {
    "LOG_LEVEL": "warning",
    "OPS_PORT": "0",
    "STOP_DELAY_SECONDS": "0",
    "HEALTH_SECONDS": "3600",  # not what is measured, and dear with 10,000 endpoints
}
SLOTS = 2048  # the bench measures the relay, not the queue


class FixedSource:
    """One tier over ports of this machine.

    Args:
        ports: Where its endpoints listen.
        count: How many endpoints there are; they share the ports.
    """

    def __init__(self, ports: Sequence[int], count: int) -> None:
        self._ports = ports
        self._count = count

    async def run(self, publish: Callable[[Snapshot], None]) -> None:
        """Publish the one snapshot and wait to be cancelled."""
        endpoints = tuple(
            Endpoint(f"q2-{index}", f"http://127.0.0.1:{self._ports[index % len(self._ports)]}")
            for index in range(self._count)
        )
        tier = Tier("q2", "bench", 10, SLOTS, 4096, endpoints=endpoints)
        publish(Snapshot(tiers=(tier,)))
        await asyncio.Event().wait()


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoints", type=int, default=0)
    parser.add_argument("port", type=int)
    parser.add_argument("upstreams", type=int, nargs="+")
    told = parser.parse_args()
    source = FixedSource(told.upstreams, told.endpoints or len(told.upstreams))
    for name, value in QUIET.items():
        os.environ.setdefault(f"TIERGARTEN_{name}", value)
    settings = Settings()
    logs.configure(settings)
    uvloop.run(app.serve(settings, source, host="127.0.0.1", port=told.port))


if __name__ == "__main__":
    main()
