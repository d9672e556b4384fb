"""The log that all routers share: a Redis Stream, with the sequence of every event beside it.

One script does everything, so that nothing lies between a look and a write: it begins an epoch
where there is none to go on with, gives events their sequences and adds them, and returns what a
reader has not seen. Each router runs it in turns: a few times a second to write, and while anybody
listens often enough to read. Its own events come back to it the same way as everybody's, in the
order that Redis gave them.

An epoch ends when the stream or its counter is gone (flushed, dropped) and when the server is
another process (`run_id`): a server that was restarted, restored, or took over as a replica may
have forgotten the newest events, and their sequences would come a second time.

While Redis does not answer, events get no place: listeners here are told them at once, marked, and
are told of the hole when Redis is back. A router that lost events so ends the epoch, so that those
who listen elsewhere, or come back later, learn of the hole too. A reply that is late is no outage
yet: the turn is tried again under its number, and Redis leaves out what it has done before.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple, cast

import msgspec
import structlog

from tiergarten_router.events import kinds, messages
from tiergarten_router.events.kinds import Event
from tiergarten_router.events.log import (
    PAGE,
    WINDOW_EVENTS,
    WINDOW_SECONDS,
    Listener,
    LogDown,
    Page,
    Position,
    Span,
    outside,
)
from tiergarten_router.events.messages import Reset
from tiergarten_router.events.subscribers import head_of
from tiergarten_router.store.client import Script, Store
from tiergarten_router.store.failures import StoreError

TOPIC: Final = b"tiergarten:{events}"  # braces: both keys in one slot of a cluster
TURN_EVENTS: Final = 500
PENDING_MAX: Final = 10_000  # a window's worth; older ones are dropped, and the drop is told
POLL_SECONDS: Final = 0.02  # also for events to come together
DOWN_SECONDS: Final = 0.25
GRACE_SECONDS: Final = 1.0  # for a Redis that replies late, before it counts as away

log = structlog.get_logger()

# KEYS: stream, its hash of epoch, seq and run, and the number of this router's last turn.
# ARGV: an epoch to begin with, 1 if it must begin now, the reader's epoch, its seq, how many events
# it wants at most, events of the window, its milliseconds, new events with line ends between them,
# and the turn's number, empty if it is not tried again.
# Entries are called SEQ-MILLISECONDS. Numbers are written with %.0f, since Lua rounds large ones.
SCRIPT: Final = Script("""
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
local held = redis.call('HMGET', KEYS[2], 'epoch', 'seq', 'run')
local epoch, seq = held[1], tonumber(held[2]) or 0
local gone = seq > 0 and redis.call('EXISTS', KEYS[1]) == 0
local done = ARGV[9] ~= '' and redis.call('GET', KEYS[3]) == ARGV[9]
if not epoch or held[3] ~= run or gone or (ARGV[2] == '1' and not done) then
  epoch, seq = ARGV[1], 0
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'epoch', epoch, 'seq', '0', 'run', run)
end
local function text(number) return string.format('%.0f', number) end
local function seq_of(id) return tonumber(string.match(id, '^%d+')) end
local function at(id) return tonumber(string.match(id, '%d+$')) end
if ARGV[8] ~= '' and not done then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  for line in string.gmatch(ARGV[8], '[^\\n]+') do
    seq = seq + 1
    local id = text(seq) .. '-' .. text(now)
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[6], id, 'e', line)
  end
  redis.call('HSET', KEYS[2], 'seq', text(seq))
  if ARGV[9] ~= '' then redis.call('SET', KEYS[3], ARGV[9], 'PX', 60000) end
  local count = 1
  for _ = 1, 10 do
    local entries = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', count)
    local old = nil
    for _, entry in ipairs(entries) do
      if at(entry[1]) < now - tonumber(ARGV[7]) then old = entry[1] end
    end
    if not old then break end
    redis.call('XTRIM', KEYS[1], 'MINID', text(seq_of(old) + 1))
    count = 100
  end
end
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
local first = seq + 1
if oldest[1] then first = seq_of(oldest[1][1]) end
local since, most, found = tonumber(ARGV[4]), tonumber(ARGV[5]), {}
if most > 0 and ARGV[3] == epoch and since < seq and since >= first - 1 then
  local entries = redis.call('XRANGE', KEYS[1], text(since + 1), '+', 'COUNT', most)
  for index, entry in ipairs(entries) do found[index] = entry[2][2] end
end
return {epoch, first, seq, found}
""")
UNKNOWN: Final = b'{"v":1,"router":"?","type":"unknown"}'
NOWHERE: Final = Position("", 0)


class Turn(NamedTuple):
    """What a turn of the script found: what is held after it, and what the reader had not seen."""

    held: Span
    payloads: list[bytes]


class RedisLog:
    """The log of all routers of a Redis.

    Args:
        router: This router's name, told in each event.
        store: The Redis.
        topic: Beginning of its keys.
    """

    def __init__(self, router: str, store: Store, topic: bytes = TOPIC) -> None:
        self._router = router
        self._store = store
        turns = topic + b":turn:" + router.encode()
        self._keys = (topic + b":stream", topic + b":place", turns)
        self._pending: deque[Event] = deque(maxlen=PENDING_MAX)
        self._batch: list[bytes] = []  # of the turn that is being tried
        self._number = 0
        self._late_since: float | None = None
        self._lost = False  # events that got no place, since the last good turn
        self._away = False  # Redis was gone, since the last good turn
        self._listens = False
        self._place: Position | None = None  # None until it is known, while somebody listens
        self._work = asyncio.Event()
        self._rounds = 0
        self._round = asyncio.Event()

    def append(self, event: Event) -> None:
        """Take an event."""
        if len(self._pending) == PENDING_MAX:
            self._lost = True
        self._pending.append(event)
        self._work.set()

    async def span(self) -> Span:
        """Return what is held now."""
        return (await self.turn()).held

    async def page(self, after: Position, most: int = PAGE) -> Page | Reset:
        """Return the events after a place; a reset if some are not held."""
        found = await self.turn(after=after, most=most)
        gap = outside(after, found.held)
        return gap or Page(after.epoch, after.seq + 1, found.payloads)

    def listen(self) -> None:
        """Tell the listener from now on."""
        self._listens, self._place = True, None
        self._work.set()

    def unlisten(self) -> None:
        """Tell it no longer."""
        self._listens, self._place = False, None

    async def turn(
        self,
        payloads: Sequence[bytes] = (),
        after: Position = NOWHERE,
        most: int = 0,
        *,
        begins: bool = False,
        number: str = "",
    ) -> Turn:
        """Add events and read others in one go; what returns was kept by Redis.

        Args:
            payloads: Their JSON, without line ends.
            after: The place after which to read.
            most: How many to read.
            begins: Whether an epoch begins with them, because others were lost.
            number: The turn's own; one that is done already adds nothing.

        Raises:
            LogDown: If Redis does not say that it did.
        """
        reader = (secrets.token_hex(8), int(begins), after.epoch, after.seq, most)
        window = (WINDOW_EVENTS, round(1000 * WINDOW_SECONDS))
        try:
            reply = await self._store.eval(
                SCRIPT, self._keys, *reader, *window, b"\n".join(payloads), number
            )
            epoch, first, last, found = cast("tuple[bytes, int, int, list[bytes]]", reply)
            return Turn(Span(epoch.decode(), first, last), list(map(_ours, found)))
        except StoreError as error:
            raise LogDown(str(error)) from error
        except (TypeError, ValueError, AttributeError) as error:  # foreign data under our keys
            raise LogDown("what Redis holds under our keys is not ours") from error

    async def run(self, listener: Listener) -> None:
        """Write what is appended, and tell the listener what is new, until cancelled."""
        while True:
            await self._wait()
            try:
                await self._take_turn(listener)
            finally:
                self._rounds += 1
                self._round.set()
                self._round = asyncio.Event()

    async def flush(self) -> None:
        """Wait until what was appended has been told, or could not be."""
        until = self._rounds + 2  # the turn that is on its way may not hold it
        while self._rounds < until:
            self._work.set()
            await self._round.wait()

    # -- inside

    async def _wait(self) -> None:
        """Wait for work: something to write, or the time to read."""
        if not self._listens:
            await self._work.wait()
        if self._away and not self._store.up:
            await asyncio.sleep(DOWN_SECONDS)
        else:
            await asyncio.sleep(POLL_SECONDS)
        self._work.clear()

    async def _take_turn(self, listener: Listener) -> None:
        payloads = self._batch = self._batch or self._next_batch()
        if self._pending:
            self._work.set()
        place, lost = self._place, self._lost
        try:
            most = PAGE if place else 0
            number = str(self._number) if payloads else ""
            found = await self.turn(payloads, place or NOWHERE, most, begins=lost, number=number)
        except LogDown as error:
            await self._fail(str(error), listener)
            return
        came_back = lost or self._away
        self._batch, self._late_since, self._lost, self._away = [], None, False, False
        if came_back:
            log.info("events_durable")
        if self._listens and place is self._place:
            await self._tell(listener, place, found, came_back=came_back)

    def _next_batch(self) -> list[bytes]:
        events = [self._pending.popleft() for _ in range(min(TURN_EVENTS, len(self._pending)))]
        self._number += 1
        return [messages.envelope(self._router, kinds.encode(event)) for event in events]

    async def _fail(self, why: str, listener: Listener) -> None:
        """Try a late turn again; tell the events of one that is lost without a place."""
        now = asyncio.get_running_loop().time()
        if self._late_since is None:
            self._late_since = now
        comes = self._store.up or not self._store.tried  # a start must not begin a new epoch
        if comes and now < self._late_since + GRACE_SECONDS:
            self._work.set()
            return
        payloads, self._batch = self._batch, []
        if not (self._lost or self._away):
            log.warning("events_not_durable", reason=why)
        self._lost = self._lost or bool(payloads)
        self._away = True
        if self._listens:
            await listener.lose(payloads)

    async def _tell(
        self, listener: Listener, place: Position | None, found: Turn, *, came_back: bool
    ) -> None:
        gap = _gap(place, found.held, came_back=came_back)
        if gap is not None:
            self._place = Position(gap.epoch, gap.seq)
            await listener.reset(gap)
        elif place is None:
            self._place = Position(found.held.epoch, found.held.last)
            listener.begins(self._place)
        elif found.payloads:
            page = Page(place.epoch, place.seq + 1, found.payloads)
            self._place = page.end
            await listener.deliver(page)


def _ours(payload: bytes) -> bytes:
    """Return an entry's JSON; what is none of ours keeps its place and says nothing."""
    try:
        head_of(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return UNKNOWN
    return payload


def _gap(place: Position | None, held: Span, *, came_back: bool) -> Reset | None:
    """Return the hole between a place and what is held; what is held is told from its first on."""
    if place is None:
        return Reset(held.epoch, held.last, "outage") if came_back else None
    gap = outside(place, held)
    if gap is not None:
        return Reset(held.epoch, held.first - 1, "outage" if came_back else gap.reason)
    return Reset(place.epoch, place.seq, "outage") if came_back else None
