"""Says when one of some files may have changed.

The folders are watched, not the files: an editor replaces a file, and whoever watches the old one
never hears of it again.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from watchfiles import Change, awatch

GATHER_MILLISECONDS: Final = 200  # an editor's save is several events


async def watch(files: Iterable[Path], changed: Callable[[], None]) -> None:
    """Call `changed` after each change of one of the files, until cancelled.

    Raises:
        OSError: If a folder cannot be watched.
    """
    names = {str(path) for file in files for path in (file.absolute(), file.resolve())}
    folders = {Path(name).parent for name in names}

    def is_ours(_change: Change, path: str) -> bool:
        return path in names

    async for _ in awatch(
        *folders, watch_filter=is_ours, debounce=GATHER_MILLISECONDS, recursive=False
    ):
        changed()
