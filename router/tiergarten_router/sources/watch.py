"""Says when some files may have changed.

The folders are watched, not the files: an editor replaces a file, and whoever watches the old one
never hears of it again. Some file systems tell of nothing, and a user may have no watches left, so
that it is time to look every few seconds in any case.
"""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog
from watchfiles import Change, awatch

log = structlog.get_logger()

GATHER_MILLISECONDS: Final = 200  # an editor's save is several events
LOOK_SECONDS: Final = 5.0


def stamp(files: Iterable[Path]) -> tuple[object, ...]:
    """Return what is different when one of the files was written anew, came or went."""
    return tuple(map(_stamp, files))


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


async def watch(
    files: Iterable[Path], look: Callable[[], None], look_seconds: float = LOOK_SECONDS
) -> None:
    """Call `look` after each change of one of the files, and now and then, until cancelled.

    Args:
        files: The files.
        look: Looks whether there is anything new; must not wait.
        look_seconds: The longest time until the next call.
    """
    try:
        await _told(files, look, look_seconds)
    except Exception as error:  # noqa: BLE001 - whatever it is, the files can still be looked at
        log.warning("files_not_watched", reason=str(error), look_seconds=look_seconds)
    while True:
        await asyncio.sleep(look_seconds)
        look()


async def _told(files: Iterable[Path], look: Callable[[], None], look_seconds: float) -> None:
    names = {str(path) for file in files for path in (file.absolute(), file.resolve())}
    folders = {Path(name).parent for name in names}

    def is_ours(_change: Change, path: str) -> bool:
        return path in names

    async for _ in awatch(
        *folders,
        watch_filter=is_ours,
        debounce=GATHER_MILLISECONDS,
        rust_timeout=round(look_seconds * 1000),
        yield_on_timeout=True,
        recursive=False,
    ):
        look()
