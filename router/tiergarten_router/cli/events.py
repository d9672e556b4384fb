"""`tiergarten events`: what happens, a line each, with holes shown."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from typing import Final

import msgspec

from tiergarten_router.events.client import Here, Hole, Item, NotAllowed, Seen, Watcher

ANSWER_SECONDS: Final = 10.0


def main(watcher: Watcher, *, follow: bool, seconds: float = ANSWER_SECONDS) -> int:
    """Print events until the past is told, or for ever.

    Args:
        watcher: The subscription.
        follow: Whether to go on with what happens from now on.
        seconds: How long to wait for the past.

    Returns:
        The exit code: 0, 1 if no router answers, 2 if it refuses.
    """
    try:
        asyncio.run(print_events(watcher, print, None if follow else seconds))
    except NotAllowed as error:
        print(error, file=sys.stderr)  # noqa: T201 -- a program's own output
        return 2
    except TimeoutError:
        print(f"no router answers at {watcher.url}", file=sys.stderr)  # noqa: T201 -- as above
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


async def print_events(
    watcher: Watcher, show: Callable[[str], object], seconds: float | None
) -> None:
    """Show the past within a time, or with no time given what happens for ever.

    Raises:
        NotAllowed: If the router refuses.
        TimeoutError: If the past does not come in time.
    """
    async with asyncio.timeout(seconds), aclosing(watcher.items()) as items:
        async for item in items:
            if not isinstance(item, Here):
                show(line(item))
            elif seconds is not None:
                return


def line(item: Item) -> str:
    """Return an item as a line for people."""
    if isinstance(item, Hole):
        span = "" if item.first is None else f" {item.first} to {item.last}"
        return f"-- events may be missing: {item.reason}{span}"
    if isinstance(item, Here):
        return f"-- {item.epoch}:{item.seq}"
    return _event(item)


def _event(seen: Seen) -> str:
    fields = msgspec.to_builtins(seen.event)
    at = datetime.fromtimestamp(fields.pop("time")).astimezone().strftime("%H:%M:%S.%f")[:-3]
    kind = fields.pop("type")
    shown = " ".join(f"{name}={_value(value)}" for name, value in fields.items())
    place = str(seen.seq) if seen.seq else "not durable"
    return f"{at} {kind:20} {shown}  [{place}]"


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "-"
    if isinstance(value, float):
        return f"{value:.1f}"
    return "-" if value in {None, ""} else str(value)
