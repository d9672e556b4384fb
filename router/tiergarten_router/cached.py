"""Answers queries by the cache where it may, and by the dispatcher where it must.

It stands between the doors and the dispatcher and looks like the latter, so neither knows the
cache. What is asked for anew is asked for once: equal queries that come meanwhile wait for the
first one's answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

from tiergarten_router import replay
from tiergarten_router.cache import key as keys
from tiergarten_router.cache.answers import MISS, Answers, Flight, Found, Result
from tiergarten_router.cache.key import Keys, Print
from tiergarten_router.cache.memory import Kept
from tiergarten_router.core.budget import Budget
from tiergarten_router.core.plan import Plan
from tiergarten_router.core.query import Query
from tiergarten_router.core.routes import Route
from tiergarten_router.core.score import Rated
from tiergarten_router.dispatch import Dispatcher
from tiergarten_router.errors import InvalidRequest
from tiergarten_router.fleet import Fleet
from tiergarten_router.keeping import Asked, Recording, Streamed, Whole
from tiergarten_router.metrics import Counts
from tiergarten_router.record import Record
from tiergarten_router.settings import Settings

HEADER: Final = b"x-tiergarten-cache"
NOBODY: Final = "cache"  # the endpoint of answers that no endpoint was asked for
USE, REFRESH, BYPASS = "use", "refresh", "bypass"
WANTS: Final = {USE.encode(): USE, REFRESH.encode(): REFRESH, BYPASS.encode(): BYPASS}

Headers: TypeAlias = Callable[[bytes], bytes | None]
"""Finds a header of a request by its name in lower case."""

T = TypeVar("T")


class Cached:
    """Answers queries.

    Args:
        dispatcher: Answers what the cache does not.
        fleet: Knows the routes.
        answers: The cache.
        keys: Makes keys.
        settings: Whether it is on, for how long, and how long equal queries wait.
        counts: Counts look-ups by their result.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        fleet: Fleet,
        answers: Answers,
        keys: Keys,
        settings: Settings,
        counts: Counts,
    ) -> None:
        self._dispatcher = dispatcher
        self._fleet = fleet
        self._answers = answers
        self._keys = keys
        self._settings = settings
        self._counts = counts
        self._unkept = Asked(answers, None, None, 0)
        self._prints: dict[str, tuple[Route, Print]] = {}

    def record(self, query: Query, headers: Headers | None = None) -> Record:
        """Return the record of a query, to be entered before it is answered.

        Args:
            query: It.
            headers: Finds a header of its request; None for a query without any.

        Raises:
            InvalidRequest: If the client wants of the cache what it does not do.
        """
        wants = _wants(headers(HEADER) if headers is not None else None)
        record = self._dispatcher.record(query, headers)
        if self._settings.cache:
            if not wants:
                wants = USE if query.is_deterministic else BYPASS
            record.cache = BYPASS if wants == BYPASS else "miss"
            record.refreshes = wants == REFRESH
        return record

    @property
    def budget(self) -> Budget:
        """The retries that are left."""
        return self._dispatcher.budget

    def look(self, record: Record, route: Route) -> tuple[str, bytes | None]:
        """Return what the cache would do with a query, as far as memory tells, and its key."""
        if record.cache != "miss":
            return record.cache, None
        key = self._keys.of(record.query, self._print(route), record.caller)
        found = not record.refreshes and self._answers.here(key) is not None
        return ("hit" if found else "miss"), key

    def plan(self, record: Record) -> tuple[Route, Plan]:
        """Score a query and plan its way, as the dispatcher does."""
        return self._dispatcher.plan(record)

    async def stream(self, record: Record) -> Streamed:
        """Return an answer at its first content; close it in the end.

        Raises:
            RouterError: If no tier can begin an answer.
        """
        asked = await self._ask(record)
        if isinstance(asked, Kept):
            return replay.Stream(asked)
        if not asked.keeps:
            return await self._dispatcher.stream(record)
        answer = await self._asking(asked, self._dispatcher.stream(record))
        return Recording(answer, asked)

    async def whole(self, record: Record) -> Whole:
        """Return an answer that is whole.

        Raises:
            RouterError: If no tier can answer.
        """
        asked = await self._ask(record)
        if isinstance(asked, Kept):
            return replay.Whole(asked)
        whole = await self._asking(asked, self._dispatcher.whole(record))
        asked.keep(record, whole.parts)
        return whole

    async def body(self, record: Record) -> bytes:
        """Return the body of an answer that is no stream, as the endpoint wrote it.

        Raises:
            RouterError: If no tier can answer.
        """
        asked = await self._ask(record)
        if isinstance(asked, Kept):
            return asked.entry.events[0]
        body = await self._asking(asked, self._dispatcher.body(record))
        asked.keep(record, [body])
        return body

    # -- inside

    async def _asking(self, asked: Asked, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except BaseException as error:
            asked.failed(left=isinstance(error, asyncio.CancelledError))
            raise

    async def _ask(self, record: Record) -> Kept | Asked:
        """Return the answer of a query, or what becomes of it when it is asked for."""
        if record.cache != "miss":
            if record.cache == BYPASS:
                self._counts.add(BYPASS)
            return self._unkept
        query = record.query
        route = self._fleet.routes.find(query.model)
        if route is None:
            return self._unkept  # the dispatcher says so
        key = self._keys.of(query, self._print(route), record.caller)
        if record.refreshes:
            return self._asked(key, MISS)
        kept = self._answers.here(key)
        if kept is not None:
            return self._hit(record, kept)
        return await self._first(record, key)

    async def _first(self, record: Record, key: bytes) -> Kept | Asked:
        """Wait for an equal query that is under way, or be the first one and ask Redis."""
        until = record.clock() + self._settings.queue_seconds
        while (other := self._answers.flight(key)) is not None:
            kept = await other.wait(until - record.clock())
            if kept is not None:
                return self._hit(record, kept)
            if not other.left:  # what failed may fail again; all ask for themselves
                return self._asked(key, MISS)
        flight = self._answers.lead(key)
        try:
            found = await self._answers.shared(key)
        except BaseException:
            flight.land(None, left=True)
            raise
        if found.kept is None:
            return self._asked(key, found, flight)
        flight.land(found.kept)
        return self._hit(record, found.kept)

    def _asked(self, key: bytes, found: Found, flight: Flight | None = None) -> Asked:
        self._counts.add(found.result.value)
        return Asked(self._answers, key, flight, self._settings.cache_seconds)

    def _hit(self, record: Record, kept: Kept) -> Kept:
        self._counts.add(Result.HIT.value)
        entry = kept.entry
        record.cache = Result.HIT.value
        record.age_seconds = kept.age(record.clock())
        record.tier, record.model, record.endpoint = entry.tier, entry.model, NOBODY
        record.rated = Rated(entry.score, entry.reasons)
        record.usage, record.timings = entry.usage, entry.timings
        record.content(None)
        return kept

    def _print(self, route: Route) -> Print:
        known = self._prints.get(route.model)
        if known is None or known[0] is not route:
            if len(self._prints) > len(self._fleet.routes.names):
                self._prints.clear()  # of routes that are gone
            known = self._prints[route.model] = (route, keys.fingerprint(route))
        return known[1]


def _wants(header: bytes | None) -> str:
    """Return what a client wants of the cache, empty when it does not say."""
    if header is None:
        return ""
    wants = WANTS.get(header.strip().lower())
    if wants is None:
        raise InvalidRequest(
            "X-Tiergarten-Cache must be use, refresh or bypass; or leave it away.",
            param="X-Tiergarten-Cache",
        )
    return wants
