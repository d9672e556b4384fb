"""The way of one file from its URL into a partial: tries, ranges, hashes.

`fetching` calls it with the file's lock held. What becomes of the partial then is decided there.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from tiergarten_fetch import hops, retries, threads
from tiergarten_fetch.errors import ChecksumMismatch, FetchFailed, Interrupted, NotGGUF
from tiergarten_fetch.hashing import PIECE
from tiergarten_fetch.options import Options
from tiergarten_fetch.partials import MAGIC, Partial
from tiergarten_fetch.results import Doing, Progress, Report
from tiergarten_fetch.sources import Offered
from tiergarten_fetch.web import Web

WORTHWHILE_BYTES = 8 * PIECE  # a try that brings so much is progress, however it ended
RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass
class Transfer:
    """One file on its way.

    Args:
        offer: What the source offers.
        partial: Where the bytes go; hashed up to its size.
        web: The HTTP client.
        options: Pauses between tries.
        report: Called with how far the file is.
    """

    offer: Offered
    partial: Partial
    web: Web
    options: Options
    report: Report

    async def run(self) -> None:
        """Bring the partial to its end, with the sha256 that it should have.

        Raises:
            FetchError: It is not what was asked for, or the source failed for too long.
        """
        if not self._whole():
            await self._bring()
        if self._right():
            return
        if self.partial.resumed:  # a power cut may have left zeros in what was resumed
            self.partial.restart(None)
            await self._bring()
            if self._right():
                return
        found = self.partial.sha256
        self.partial.drop()
        raise ChecksumMismatch(
            f"model.files[{self.offer.file.name}]: sha256 is {found}, "
            f"expected {self.offer.sha256}; correct the value, or the file at the source"
        )

    def _whole(self) -> bool:
        """Whether nothing needs to be asked for: only a known sha256 can tell."""
        return self.offer.sha256 is not None and self.partial.sha256 == self.offer.sha256

    def _right(self) -> bool:
        return self.offer.sha256 in (None, self.partial.sha256)

    async def _bring(self) -> None:
        before = 0

        async def attempt() -> None:
            nonlocal before
            before = self.partial.size
            await self._attempt()

        def progressed() -> bool:
            return self.partial.size - before >= WORTHWHILE_BYTES

        def failed(failure: Interrupted) -> None:
            self._told(self.offer.size, Doing.RETRYING, failure.message)

        await retries.repeat(attempt, self.options.backoff, self.options.chance, progressed, failed)

    async def _attempt(self) -> None:
        file = self.offer.file
        headers = {}
        if self.partial.size and self.partial.etag:
            headers = {"Range": f"bytes={self.partial.size}-", "If-Range": self.partial.etag}
        async with self.web.get(file.url, file.secret, headers) as response:
            size = await threads.run(lambda: self._begin(response))
            await self._read(response, size)
        if size is not None and self.partial.size != size:
            raise Interrupted(f"{hops.shown(file.url)}: ended at {self.partial.size} of {size} B")

    def _begin(self, response: httpx.Response) -> int | None:
        """Set the partial to where the answer begins; return the whole file's size."""
        where = hops.shown(self.offer.file.url)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise FetchFailed(f"{where}: compresses although asked not to; serve the file as it is")
        etag = strong(response.headers.get("etag"))
        if response.status_code == HTTPStatus.OK:
            size = _number(response.headers.get("content-length"))
            self.partial.restart(etag)
        else:
            size = continued(response, self.partial.size)
            if size is None or etag != self.partial.etag:
                self.partial.restart(None)
                raise Interrupted(f"{where}: answers with another range or file than asked for")
        if size is not None and self.offer.size not in (None, size):
            raise Interrupted(f"{where}: has {size} B now, and said {self.offer.size} B before")
        return size if size is not None else self.offer.size

    async def _read(self, response: httpx.Response, size: int | None) -> None:
        buffer = bytearray()
        try:
            async for part in response.aiter_raw():
                buffer += part
                if len(buffer) >= PIECE:
                    await self._flush(buffer, size)
        finally:
            # Whatever ends the try, what came is kept: the next one continues after it.
            await self._flush(buffer, size)

    async def _flush(self, buffer: bytearray, size: int | None) -> None:
        piece = bytes(buffer)
        buffer.clear()
        where = hops.shown(self.offer.file.url)
        if size is not None and self.partial.size + len(piece) > size:
            self.partial.drop()
            raise FetchFailed(f"{where}: sends more than the {size} B that it said")
        if not self.partial.size and not piece.startswith(MAGIC[: len(piece)]):
            self.partial.drop()
            raise NotGGUF(f"{where}: begins with {piece[:4]!r}, not with GGUF")
        if piece:
            await threads.run(lambda: self.partial.write(piece))
            self._told(size)

    def _told(self, size: int | None, doing: Doing = Doing.FETCHING, note: str = "") -> None:
        self.report(Progress(self.offer.file.name, self.partial.size, size, doing, note))


def strong(etag: str | None) -> str | None:
    """Return the ETag if it is a strong one: only then equal tags mean equal bytes."""
    return etag if etag and etag.startswith('"') else None


def continued(response: httpx.Response, start: int) -> int | None:
    """Return the whole file's size from a 206 that goes on at `start`; None for any other."""
    match = RANGE.fullmatch(response.headers.get("content-range", ""))
    if match is None or int(match[1]) != start or not match[2].isdecimal() or not start:
        return None
    return int(match[2])


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
