"""A streaming client that waits for the first content: kept from giving up, not committed to more.

After a while it gets 200 and a comment now and then, which no client shows; the query may still be
tried elsewhere. What fails after that is an error event, as the status can change no more.
"""

import asyncio
from types import TracebackType
from typing import Final, Self

from tiergarten_router.api import replies
from tiergarten_router.api.client import Client
from tiergarten_router.record import Record
from tiergarten_router.upstream import sse
from tiergarten_router.upstream.deadlines import Deadline, Deadlines

KEEP_ALIVE: Final = sse.comment(b"keep-alive")


class Waiting:
    """The wait for the first content, inside `with`.

    Args:
        client: Who waits.
        record: For what.
        deadlines: The sweep.
        seconds: How long nothing is said, and then the time between comments.
        headers: What the client is told beside what is known by then.
    """

    __slots__ = ("_client", "_deadline", "_deadlines", "_headers", "_loop", "_record", "_seconds")

    def __init__(
        self,
        client: Client,
        record: Record,
        deadlines: Deadlines,
        seconds: float,
        headers: bytes = b"",
    ) -> None:
        self._client = client
        self._record = record
        self._deadlines = deadlines
        self._seconds = seconds
        self._headers = headers
        self._loop = asyncio.get_running_loop()
        self._deadline = Deadline(self._comment)

    def __enter__(self) -> Self:
        self._deadline.at = self._loop.time() + self._seconds
        self._deadlines.hold(self._deadline)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._deadlines.release(self._deadline)

    def _comment(self) -> None:
        if not self._client.began:
            self._client.begin(200, replies.SSE + replies.undecided(self._record) + self._headers)
        if not self._client.paused:  # else there is enough that it has not read yet
            self._client.push(KEEP_ALIVE)
        self._deadline.at = self._loop.time() + self._seconds
