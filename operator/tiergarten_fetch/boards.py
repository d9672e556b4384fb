"""How far all files of a fetch are, as its pod tells it and the operator reads it. Pure."""

from pydantic import TypeAdapter, ValidationError

from tiergarten_fetch.results import Progress

MOST_FILES = 64  # a tier names no more
_ADAPTER = TypeAdapter(tuple[Progress, ...])


class Board:
    """Remembers how far each file is."""

    def __init__(self) -> None:
        self._files: dict[str, Progress] = {}

    def show(self, progress: Progress) -> None:
        """Remember how far a file is; more files than a tier may name are left out."""
        if progress.file in self._files or len(self._files) < MOST_FILES:
            self._files[progress.file] = progress

    def text(self) -> bytes:
        """Return all of it as JSON, in the order in which the files were first heard of."""
        return _ADAPTER.dump_json(tuple(self._files.values()))


def read(text: bytes) -> tuple[Progress, ...]:
    """Return how far each file is; empty if the text is not a board's."""
    try:
        return _ADAPTER.validate_json(text)[:MOST_FILES]
    except ValidationError:
        return ()
