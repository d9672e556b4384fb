"""Running fetches are asked how far they are; one that is silent holds nobody up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tiergarten_fetch import telling
from tiergarten_fetch.boards import Board
from tiergarten_fetch.results import Progress
from tiergarten_operator.cluster.progress import SILENT_SECONDS, Asking
from tiergarten_operator.facts import Key

KEY = Key("models", "q4")
HERE = "127.0.0.1"
HALF = Progress("small.gguf", 5, 10)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def board(progress: Progress) -> Board:
    made = Board()
    made.show(progress)
    return made


async def test_a_fetch_is_asked_once_in_a_while() -> None:
    clock, shown = Clock(), board(HALF)
    async with telling.told(shown.text, 0, "127.0.0.1") as port:
        asking = Asking(port or 0, 10.0, clock)
        assert await asking.of(KEY, HERE) == (HALF,)
        shown.show(Progress("small.gguf", 7, 10))
        assert await asking.of(KEY, HERE) == (HALF,)
        clock.now += 10
        assert (await asking.of(KEY, HERE))[0].fetched_bytes == 7
        assert await asking.of(KEY, None) == ()


async def test_one_that_only_starts_is_asked_again_soon() -> None:
    clock = Clock()
    async with telling.told(lambda: b"[]", 0, "127.0.0.1") as port:
        pass
    asking = Asking(port or 0, 10.0, clock)
    assert await asking.of(KEY, HERE) == ()

    async with telling.told(board(HALF).text, port, "127.0.0.1"):
        assert await asking.of(KEY, HERE) == ()
        clock.now += 10
        assert await asking.of(KEY, HERE) == (HALF,)


async def test_one_that_lets_us_wait_is_left_alone_for_longer_each_time() -> None:
    clock = Clock()
    async with silent() as (port, callers):
        asking = Asking(port, 10.0, clock)
        assert await asking.of(KEY, HERE) == ()
        for pause in (20, 40, SILENT_SECONDS, SILENT_SECONDS):
            before = len(callers)
            clock.now += pause - 1
            assert await asking.of(KEY, HERE) == ()
            assert len(callers) == before
            clock.now += 1
            assert await asking.of(KEY, HERE) == ()
            assert len(callers) == before + 1


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[int, list[object]]]:
    """A server that takes connections and says nothing."""
    callers: list[object] = []
    done = asyncio.Event()

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(writer)
        await done.wait()
        writer.close()

    server = await asyncio.start_server(accept, HERE, 0)
    yield server.sockets[0].getsockname()[1], callers
    done.set()
    server.close()
    await server.wait_closed()
