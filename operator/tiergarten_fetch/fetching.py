"""The order of steps in which a model comes: ask, make room, bring, check, link, mark as complete.

The program and local mode call `fetch`. It may be cancelled at any await: what has come stays and
is continued by the next fetch, and locks are given up.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tiergarten_api.v1alpha1 import ModelSpec
from tiergarten_fetch import disk, hops, layout, threads, volumes, weights
from tiergarten_fetch.addresses import Reach
from tiergarten_fetch.errors import FetchError, FetchFailed, NoSpace, NotGGUF
from tiergarten_fetch.hashing import Hashing, sha256_of
from tiergarten_fetch.locks import Lock
from tiergarten_fetch.options import Options
from tiergarten_fetch.partials import Partial
from tiergarten_fetch.results import (
    MODEL,
    Doing,
    File,
    Progress,
    Report,
    Result,
    unheard,
)
from tiergarten_fetch.sources import Asking, Offered
from tiergarten_fetch.transfer import Transfer
from tiergarten_fetch.web import Web


async def fetch(
    model: ModelSpec, root: Path, *, options: Options, progress: Report = unheard
) -> Result:
    """Return the model's files once all of them are in `root`, whole and checked.

    Args:
        model: What to fetch. A volume or image source is only verified, in `root` itself.
        root: The folder that holds models; made if it is not there.
        options: Endpoint, secrets, pauses.
        progress: Called often, from the event loop, with how far a file is.

    Raises:
        FetchError: Its class says what is wrong; see `errors`.
    """
    if model.source.hugging_face is None and model.source.http is None:
        return await volumes.locate(model, root, progress=progress)
    folder = layout.folder(root, model)
    if not options.refetch:
        there = await threads.run(lambda: layout.completed(folder, model))
        if there is not None:
            return _told(there, progress)
    for file in model.files or ():
        layout.path_of(folder, file.name)
    weights.check_names([file.name for file in model.files or () if str(file.role) == MODEL])
    with disk.translated(root):
        layout.blobs(root).mkdir(parents=True, exist_ok=True)
    fetching = _Fetching(model, root, options, progress)
    return await fetching.run()


@dataclass(frozen=True)
class _Fetching:
    """One fetch: what all its steps need."""

    model: ModelSpec
    root: Path
    options: Options
    progress: Report

    async def run(self) -> Result:
        hub = self.model.source.hugging_face
        options = self.options
        async with Web(
            connect_seconds=options.connect_seconds,
            stall_seconds=options.stall_seconds,
            widest=Reach.LOOPBACK if options.loopback else Reach.PRIVATE,
            trusted=hops.parse(options.endpoint, "HF_ENDPOINT") if hub else None,
        ) as web:
            asking = Asking(web, options, self.progress)
            revision = await asking.commit(self.model) if hub else None
            offers = await asking.offers(self.model, revision)
            await threads.run(lambda: self._make_room(offers))
            files = [await self._bring(offer, web) for offer in offers]
        header = weights.check_shards(files)
        result = Result(layout.folder(self.root, self.model), tuple(files), header, revision)
        return await threads.run(lambda: self._link(result))

    def _make_room(self, offers: list[Offered]) -> None:
        """Refuse a fetch that would fill the disk, before its first byte."""
        missing = sum(self._missing(offer) for offer in offers)
        free = self.options.free(self.root)
        if missing > free:
            raise NoSpace(
                f"{self.root}: {missing} bytes are still to come and {free} are free; "
                f"raise cache.size by {missing - free} bytes or more"
            )

    def _missing(self, offer: Offered) -> int:
        if offer.size is None or self._blob(offer).exists():
            return 0
        try:
            return max(offer.size - self._partial(offer).stat().st_size, 0)
        except FileNotFoundError:
            return offer.size

    async def _bring(self, offer: Offered, web: Web) -> File:
        """Return the file as a blob, brought now unless it is there."""
        lock = Lock(self._partial(offer).with_suffix(".lock"), self.options.pace)
        name = offer.file.name

        def waiting() -> None:
            self.progress(Progress(name, 0, offer.size, Doing.WAITING))

        with disk.translated(layout.blobs(self.root)):
            async with lock.held(waiting):
                hashing = Hashing(name, offer.size, self.progress)
                file = await hashing.run(lambda: self._there(offer, hashing.hashed))
                if file is None:
                    file = await self._transfer(offer, web, lock)
        self.progress(Progress(name, file.size, file.size, Doing.DONE))
        return file

    def _there(self, offer: Offered, hashed: Callable[[int], None]) -> File | None:
        """Return the file if its blob is there and sound: it was checked before it got its name."""
        blob = self._blob(offer)
        if offer.sha256 is None or not blob.exists():
            return None
        try:
            if not self.options.refetch or sha256_of(blob, hashed) == offer.sha256:
                return self._file(offer, blob, offer.sha256)
        except NotGGUF:  # it was one when it came: the disk or somebody changed it
            pass
        blob.unlink()
        return None

    async def _transfer(self, offer: Offered, web: Web, lock: Lock) -> File:
        partial = Partial(self._partial(offer))

        hashing = Hashing(offer.file.name, offer.size, self.progress)
        try:
            # Without a sha256 nothing could tell whether what a dead process left is sound.
            longest = offer.size if offer.sha256 is not None else 0
            await hashing.run(lambda: partial.load(longest, hashing.hashed))
            await Transfer(offer, partial, web, self.options, self.progress).run()
            return await threads.run(lambda: self._commit(offer, partial, lock))
        finally:
            partial.close()

    def _commit(self, offer: Offered, partial: Partial, lock: Lock) -> File:
        """Give a whole partial its final name, if it is a GGUF file."""
        blob = layout.blobs(self.root) / partial.sha256
        try:
            with partial.reader() as stream:
                weights.header(stream, offer.file.name, partial.size)
        except FetchError:
            partial.drop()
            raise
        if not lock.owned:
            raise FetchFailed(f"{offer.file.name}: another fetch took over; start this one again")
        partial.commit(blob)
        return self._file(offer, blob, partial.sha256)

    def _file(self, offer: Offered, blob: Path, sha256: str) -> File:
        header = weights.header_of(blob, offer.file.name)
        size = blob.stat().st_size
        return File(offer.file.name, offer.file.role, blob, size, sha256, header)

    def _link(self, result: Result) -> Result:
        with disk.translated(result.folder):
            result.folder.mkdir(parents=True, exist_ok=True)
            (result.folder / layout.COMPLETE).unlink(missing_ok=True)
            for file in result.files:
                disk.place(file.path, layout.path_of(result.folder, file.name))
        layout.complete(result)
        there = layout.completed(result.folder, self.model)
        if there is None:
            raise FetchFailed(f"{result.folder}: changed while it was written; fetch again")
        return there

    def _blob(self, offer: Offered) -> Path:
        return layout.blobs(self.root) / self._stem(offer)

    def _partial(self, offer: Offered) -> Path:
        return layout.blobs(self.root) / f"{self._stem(offer)}.partial"

    def _stem(self, offer: Offered) -> str:
        if offer.sha256 is not None:
            return offer.sha256
        return f"url-{hashlib.sha256(str(offer.file.url).encode()).hexdigest()}"


def _told(result: Result, progress: Report) -> Result:
    for file in result.files:
        progress(Progress(file.name, file.size, file.size, Doing.DONE))
    return result
