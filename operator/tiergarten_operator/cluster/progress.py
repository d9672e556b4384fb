"""Asks the pods of fetches how far they are. A courtesy: whoever does not answer is left alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from tiergarten_fetch import boards
from tiergarten_fetch.results import Progress
from tiergarten_operator.facts import Key

ASK_SECONDS: Final = 1.0
SILENT_SECONDS: Final = 60.0
"""Longest time until a pod that let us wait is asked again: a network policy may be in the way."""
MOST_BYTES: Final = 65_536


@dataclass
class Asking:
    """Knows how far the fetches are, by tier.

    Attributes:
        port: At which pods answer.
        seconds: Least time between two questions about the same tier.
        clock: Seconds of a monotonic clock.
    """

    port: int
    seconds: float
    clock: Callable[[], float]
    _known: dict[Key, tuple[str, float, tuple[Progress, ...]]] = field(default_factory=dict)
    _silent: dict[Key, int] = field(default_factory=dict)

    async def of(self, key: Key, address: str | None) -> tuple[Progress, ...]:
        """Return how far a tier's fetch is; empty if none runs or it does not say.

        Args:
            key: The tier.
            address: Of the pod that fetches for it; None if none does.
        """
        if address is None:
            self._known.pop(key, None)
            self._silent.pop(key, None)
            return ()
        before, due, known = self._known.get(key, ("", 0.0, ()))
        if before == address and self.clock() < due:
            return known
        pause, found = self.seconds, tuple[Progress, ...]()
        try:
            found = await self._ask(address)
            self._silent.pop(key, None)
        except TimeoutError:
            times = self._silent[key] = self._silent.get(key, 0) + 1
            pause = min(self.seconds * 2.0 ** min(times, 10), max(SILENT_SECONDS, self.seconds))
        except (aiohttp.ClientError, OSError):  # it only starts, or has just ended
            pass
        self._known[key] = (address, self.clock() + pause, found)
        return found

    async def _ask(self, address: str) -> tuple[Progress, ...]:
        host = f"[{address}]" if ":" in address else address
        limit = aiohttp.ClientTimeout(total=ASK_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(f"http://{host}:{self.port}/progress", allow_redirects=False) as answer,
        ):
            return boards.read(await answer.content.read(MOST_BYTES))
