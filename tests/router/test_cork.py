"""A head goes out with the body that follows it, and never waits for one that does not."""

import asyncio
from typing import Any, cast

from tiergarten_router.cork import CorkedTransport


class Recorder:
    """A transport that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def close(self) -> None:
        self.told.append("close")

    def abort(self) -> None:
        self.told.append("abort")

    def is_closing(self) -> bool:
        return False


def corked() -> tuple[CorkedTransport, list[Any]]:
    inner = Recorder()
    return CorkedTransport(cast("asyncio.Transport", inner)), inner.told


async def test_head_and_body_are_one_write() -> None:
    transport, told = corked()

    transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    transport.write(b"body")
    transport.write(b"more")

    assert told == [b"HTTP/1.1 200 OK\r\n\r\nbody", b"more"]
    await asyncio.sleep(0)
    assert len(told) == 2


async def test_a_head_alone_goes_out_at_the_end_of_the_turn() -> None:
    transport, told = corked()

    transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert told == []

    await asyncio.sleep(0)
    assert told == [b"HTTP/1.1 204 No Content\r\n\r\n"]


async def test_closing_sends_the_head_and_aborting_drops_it() -> None:
    closing, closed = corked()
    aborting, aborted = corked()
    for transport in (closing, aborting):
        transport.write(b"HTTP/1.1 200 OK\r\n\r\n")

    closing.close()
    aborting.abort()
    await asyncio.sleep(0)

    assert closed == [b"HTTP/1.1 200 OK\r\n\r\n", "close"]
    assert aborted == ["abort"]
    assert closing.is_closing() is False
