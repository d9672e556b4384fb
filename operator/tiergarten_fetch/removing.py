"""Takes a model out of a folder that other models use too."""

import shutil
from pathlib import Path

from tiergarten_api.v1alpha1 import ModelSpec
from tiergarten_fetch import disk, layout


def remove(model: ModelSpec, root: Path) -> int:
    """Remove a model's folder, and those of its files that no other model has; return the bytes.

    A server that has the files open goes on with them. What an unfinished fetch left stays, for a
    fetch of the same file continues it.

    Args:
        model: The model, as it was fetched.
        root: The folder that holds the models.

    Raises:
        FetchFailed: The folder cannot be written to.
    """
    folder = layout.folder(root, model)
    entries = layout.entries(folder)
    freed = 0
    with disk.translated(folder):
        if folder.is_dir():
            (folder / layout.COMPLETE).unlink(missing_ok=True)  # first, so that none starts on it
            shutil.rmtree(folder)
        for entry in entries:
            blob = layout.blobs(root) / entry.sha256
            if blob.is_file() and blob.stat().st_nlink == 1:
                blob.unlink()
                freed += entry.size
    return freed
