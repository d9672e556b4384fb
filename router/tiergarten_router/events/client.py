"""A client of the event stream that comes back by itself and shows every hole.

    async for item in Watcher("http://localhost:8080", kinds=["query."]).items():
        match item:
            case Seen(event=Completed() as done):
                ...
            case Hole():
                ...  # something was missed, or may have been: read the state anew

It remembers the last place it saw. When the connection is lost it asks any router to go on from
there; what cannot be told comes as a `Hole`.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlencode

import msgspec
from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from tiergarten_router.events.kinds import AnyEvent
from tiergarten_router.events.messages import Heartbeat, Lagged, Reset

FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 40.0  # two heartbeats and a bit
PROTOCOLS: Final = "tiergarten.events"
PERMANENT: Final = frozenset({400, 401, 403, 404})
REFUSED: Final = frozenset({1003, 4400, 4401})


class NotAllowed(Exception):
    """The router will never serve this subscription; the message says why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An event.

    Attributes:
        event: What happened.
        router: Who told it.
        epoch: Its epoch, empty if it has no place.
        seq: Its sequence, 0 if it has no place: Redis was away.
    """

    event: AnyEvent
    router: str
    epoch: str
    seq: int


@dataclass(frozen=True, slots=True)
class Hole:
    """Events may have been missed.

    Attributes:
        reason: A reset's (epoch, window, future, outage), `lagged`, or `jump`: sequences are
            missing of which nothing was said.
        first: First sequence that is missing, None where that is not known.
        last: Last sequence that is missing, None where that is not known.
    """

    reason: str
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Here:
    """Everything up to this place has been seen."""

    epoch: str
    seq: int


Item: TypeAlias = Seen | Hole | Here


class _Place(Struct):
    epoch: str = ""
    seq: int = 0
    router: str = ""


_decode_place = msgspec.json.Decoder(_Place).decode
_decode_notice = msgspec.json.Decoder(Heartbeat | Reset | Lagged).decode
_decode_event = msgspec.json.Decoder(AnyEvent).decode


class Watcher:
    """A subscription that outlives its connections.

    Args:
        url: A router, `http://` or `https://`; a replica's name may stand for any.
        kinds: Beginnings of kinds; none means all.
        tier: Only events of this tier.
        query: Only events of this query.
        token: What the router wants to see, or empty.
        latest: How many past events to begin with.

    Attributes:
        epoch: Epoch of the last place seen, empty before the first.
        seq: Its sequence.
        connection: The connection, None while there is none.
    """

    def __init__(
        self,
        url: str,
        *,
        kinds: Sequence[str] = (),
        tier: str = "",
        query: str = "",
        token: str = "",
        latest: int = 0,
    ) -> None:
        self.url = url
        self.epoch = ""
        self.seq = 0
        self.connection: ClientConnection | None = None
        self._wanted = [("kind", kind) for kind in kinds]
        self._wanted += [
            (name, value) for name, value in (("tier", tier), ("query", query)) if value
        ]
        self._token = token
        self._latest = latest

    async def items(self) -> AsyncGenerator[Item, None]:
        """Yield what comes, for ever.

        Raises:
            NotAllowed: If the router refuses for good.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                async with connect(
                    self._address(),
                    subprotocols=self._protocols(),  # type: ignore[arg-type]  # NewType of str
                    compression=None,
                    proxy=None,
                    ping_interval=None,
                ) as connection:
                    self.connection = connection
                    async for item in self._read(connection):
                        pause = FIRST_PAUSE_SECONDS
                        yield item
            except InvalidStatus as error:
                if error.response.status_code in PERMANENT:
                    raise NotAllowed(_why(error.response.body)) from error
            except ConnectionClosed as error:
                if error.rcvd is not None and error.rcvd.code in REFUSED:
                    raise NotAllowed(error.rcvd.reason) from error
            except (OSError, InvalidHandshake, TimeoutError):
                pass
            self.connection = None
            await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 -- spreads load
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _read(self, connection: ClientConnection) -> AsyncIterator[Item]:
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                text = await connection.recv(decode=False)
            for item in self._items(text):
                yield item

    def _items(self, text: bytes) -> list[Item]:
        place = _decode_place(text)
        if not place.router:
            return self._noticed(_decode_notice(text))
        try:
            event = _decode_event(text)
        except msgspec.ValidationError:  # a kind of a newer router
            event = None
        items: list[Item] = []
        if place.epoch:
            items += self._jumped(place.epoch, place.seq)
            self.epoch, self.seq = place.epoch, place.seq
        if event is not None:
            items.append(Seen(event, place.router, place.epoch, place.seq))
        return items

    def _noticed(self, notice: Heartbeat | Reset | Lagged) -> list[Item]:
        match notice:
            case Reset(epoch=epoch, seq=seq, reason=reason):
                self.epoch, self.seq = epoch, seq
                return [Hole(reason)]
            case Lagged(first=first, last=last):
                if last is not None:
                    self.seq = max(self.seq, last)
                return [Hole("lagged", first, last)]
        items = self._jumped(notice.epoch, notice.seq + 1) if self._everything else []
        self.epoch, self.seq = notice.epoch, notice.seq
        return [*items, Here(notice.epoch, notice.seq)]

    @property
    def _everything(self) -> bool:
        return not self._wanted

    def _jumped(self, epoch: str, seq: int) -> list[Item]:
        """Return the hole before a sequence; a filter leaves holes that are none."""
        if not self.epoch or not self._everything:
            return []
        if epoch != self.epoch:
            return [Hole("jump")]
        return [Hole("jump", self.seq + 1, seq - 1)] if seq > self.seq + 1 else []

    def _address(self) -> str:
        asks = list(self._wanted)
        if self.epoch:
            asks += [("epoch", self.epoch), ("since", str(self.seq))]
        elif self._latest:
            asks.append(("latest", str(self._latest)))
        base = "ws" + self.url.removeprefix("http").rstrip("/")
        return f"{base}/v1/events?{urlencode(asks)}"

    def _protocols(self) -> list[str]:
        return [PROTOCOLS, f"tiergarten.token.{self._token}"] if self._token else [PROTOCOLS]


def _why(body: bytes | bytearray | None) -> str:
    try:
        found = msgspec.json.decode(body or b"")
        return str(found["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return "the router refuses"
