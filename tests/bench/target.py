"""The router as the bench runs it: one tier over fixed addresses, every feature on.

python target.py PORT UPSTREAM_PORT...
"""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence

import uvloop

from tiergarten_router import app, logs
from tiergarten_router.core.snapshot import Endpoint, Snapshot, Tier
from tiergarten_router.settings import Settings

QUIET = {"LOG_LEVEL": "warning", "OPS_PORT": "0", "STOP_DELAY_SECONDS": "0"}
SLOTS = 2048  # the bench measures the relay, not the queue


class FixedSource:
    """One tier over ports of this machine.

    Args:
        ports: Where its endpoints listen.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports

    async def run(self, publish: Callable[[Snapshot], None]) -> None:
        """Publish the one snapshot and wait to be cancelled."""
        endpoints = tuple(
            Endpoint(f"q2-{index}", f"http://127.0.0.1:{port}")
            for index, port in enumerate(self._ports)
        )
        tier = Tier("q2", "bench", 10, SLOTS, 4096, endpoints=endpoints)
        publish(Snapshot(tiers=(tier,)))
        await asyncio.Event().wait()


def main() -> None:
    """Run until SIGTERM."""
    port, *upstreams = map(int, sys.argv[1:])
    for name, value in QUIET.items():
        os.environ.setdefault(f"TIERGARTEN_{name}", value)
    settings = Settings()
    logs.configure(settings)
    uvloop.run(app.serve(settings, FixedSource(upstreams), host="127.0.0.1", port=port))


if __name__ == "__main__":
    main()
