"""Models that are there already: in a volume or an image that somebody else filled."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tiergarten_api.v1alpha1 import ModelSpec
from tiergarten_fetch import disk, layout, threads, weights
from tiergarten_fetch.errors import ChecksumMismatch, NotFound
from tiergarten_fetch.hashing import Hashing, sha256_of
from tiergarten_fetch.results import MODEL, Doing, File, Progress, Report, Result, unheard

NAMED = 5  # files that a message names


async def locate(model: ModelSpec, folder: Path, *, progress: Report = unheard) -> Result:
    """Return the model's files in a folder that is not ours: nothing is written.

    Args:
        model: Its files are looked for by name. Without any, the folder must hold one model: a
            single GGUF file, or one whole set of shards.
        folder: Where the files lie; a volume's `subPath` is part of it already.
        progress: Called for each file that is checked.

    Raises:
        NotFound: The folder or a file is not there, or there is more than one model.
        ChecksumMismatch: A file's sha256 is not the one that the spec gives.
        NotGGUF: A file is none, or cut.
    """
    named = [(file.name, str(file.role), file.sha256) for file in model.files or ()]
    if not named:
        found = await threads.run(lambda: only_model(folder))
        named = [(name, MODEL, None) for name in found]
    weights.check_names([name for name, role, _ in named if role == MODEL])
    files = []
    for name, role, sha256 in named:
        path = layout.path_of(folder, name)
        hashing = Hashing(name, None, progress)
        check = partial(_file, path, name, role, sha256, hashing.hashed)
        file = await hashing.run(check)
        progress(Progress(name, file.size, file.size, Doing.DONE))
        files.append(file)
    return Result(folder, tuple(files), weights.check_shards(files))


def only_model(folder: Path) -> Sequence[str]:
    """Return the names of the one model in a folder, shards in order.

    Raises:
        NotFound: If there is none, or more than one.
    """
    try:
        names = sorted(path.name for path in folder.iterdir() if path.name.endswith(".gguf"))
    except OSError as error:
        raise NotFound(f"{folder}: {error.strerror}; check claimName and subPath") from error
    models = {_model_of(name) for name in names}
    if len(models) != 1:
        some = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
        raise NotFound(
            f"{folder}: holds {len(models)} models ({some or 'no .gguf file'}); "
            "name the model's files in model.files"
        )
    return names


def _model_of(name: str) -> str:
    """Return what the shards of one model have in common."""
    match = weights.SHARD.fullmatch(name)
    return f"{match['stem']}/{match['count']}" if match else name


def _file(
    path: Path, name: str, role: str, sha256: str | None, hashed: Callable[[int], None]
) -> File:
    if not path.is_file():
        raise NotFound(f"{path}: is not there; check claimName, subPath and model.files")
    header = weights.header_of(path, name)
    with disk.translated(path):
        if sha256 is not None and (found := sha256_of(path, hashed)) != sha256:
            raise ChecksumMismatch(
                f"model.files[{name}]: sha256 is {found}, expected {sha256}; correct the value, or "
                "the file"
            )
        return File(name, role, path, path.stat().st_size, sha256, header)
