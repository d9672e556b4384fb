"""Models that tests fetch from a `hub.Hub`, and options that make a fetch quick to fail."""

from collections.abc import Mapping

from hub import REPO, Hub
from tiergarten_api.v1alpha1 import ModelSpec
from tiergarten_fetch.locks import Pace
from tiergarten_fetch.options import Options
from tiergarten_fetch.retries import Backoff

NAME = "tiny-Q8_0.gguf"
QUICK = Backoff(attempts=4, first_seconds=0.001, longest_seconds=0.002, longest_asked_seconds=2.0)
PACE = Pace(beat_seconds=0.05, stale_seconds=0.5, look_seconds=0.01, wait_seconds=10.0)

File = str | Mapping[str, str]


def hub_model(*files: File, revision: str = "main", require_checksum: bool = True) -> ModelSpec:
    """Return a model of the hub's repository."""
    source = {"huggingFace": {"repo": REPO, "revision": revision}}
    return _model(source, files or (NAME,), require_checksum=require_checksum)


def web_model(url: str, *files: File, require_checksum: bool = True) -> ModelSpec:
    """Return a model of a plain web server."""
    source = {"http": {"url": url}}
    return _model(source, files or (NAME,), require_checksum=require_checksum)


def volume_model(*files: File) -> ModelSpec:
    """Return a model that lies in a volume; without files the folder holds just one."""
    return _model({"volume": {"claimName": "models"}}, files, require_checksum=True)


def options(hub: Hub, **changes: object) -> Options:
    """Return options for a hub, with short pauses."""
    chosen: dict[str, object] = {
        "endpoint": hub.url,
        "loopback": True,
        "backoff": QUICK,
        "pace": PACE,
        "stall_seconds": 5.0,
    }
    return Options(**(chosen | changes))  # type: ignore[arg-type]  # a test names real fields


def _model(
    source: Mapping[str, object], files: tuple[File, ...], *, require_checksum: bool
) -> ModelSpec:
    named = [{"name": file} if isinstance(file, str) else dict(file) for file in files]
    content = {"name": "tiny", "source": source, "requireChecksum": require_checksum}
    return ModelSpec.model_validate(content | ({"files": named} if named else {}))
