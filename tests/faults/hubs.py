"""Imitated model hubs in a thread of their own, for pods that fetch while a test waits."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from hub import Hub

SECONDS = 20


class Hubs:
    """Hubs that pods reach, up inside `with`.

    Args:
        address: Where they listen, as pods reach it.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hubs")
        self._open = contextlib.AsyncExitStack()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._call(self._open.aclose()).result(SECONDS)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(SECONDS)
            self._loop.close()

    def open(self, files: Mapping[str, bytes], *, token: str = "") -> Hub:
        """Start a hub with these files."""
        made = Hub(files, host=self._address, listens=self._address, token=token)
        self._call(self._open.enter_async_context(made)).result(SECONDS)
        return made

    def event(self) -> tuple[asyncio.Event, Callable[[], object]]:
        """Return an event for `hub.hold`, and what sets it from the test's thread."""
        event = asyncio.Event()
        return event, lambda: self._loop.call_soon_threadsafe(event.set)

    def _call(self, work: object) -> "concurrent.futures.Future[object]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)  # type: ignore[arg-type]  # a coroutine of Hub's
