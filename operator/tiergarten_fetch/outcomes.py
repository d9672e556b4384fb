"""How a fetch ended, as one line of JSON: the program's last line and a pod's termination message.

The operator reads it with `read`; Kubernetes keeps no more than 4,096 bytes of it.
"""

from dataclasses import dataclass, replace

from pydantic import TypeAdapter, ValidationError

from tiergarten_api.gguf import Header
from tiergarten_fetch.errors import FetchError
from tiergarten_fetch.results import Result

VERIFIED = "Verified"
REMOVED = "Removed"
LIMIT_BYTES = 4096
MESSAGE_LIMIT = 1024


@dataclass(frozen=True)
class Fetched:
    """A file that is there."""

    name: str
    role: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class Outcome:
    """How a fetch ended.

    Attributes:
        reason: `Verified`, or the error's word; the reasons of the `ModelAvailable` condition.
        exit_code: 0, or the error's.
        message: For people; empty when all went well.
        revision: The commit that was fetched, or None.
        digest: What tells the model from any other, or None; see `Result.digest`.
        size: All files together, in bytes.
        file_count: How many files there are.
        header: What the model's header says; None when it ended badly, or is too long to tell.
        files: In load order; the first alone when there are too many to tell, or none.
    """

    reason: str
    exit_code: int = 0
    message: str = ""
    revision: str | None = None
    digest: str | None = None
    size: int = 0
    file_count: int = 0
    header: Header | None = None
    files: tuple[Fetched, ...] = ()


_ADAPTER = TypeAdapter(Outcome)


def of(result: Result) -> Outcome:
    """Return the outcome of a fetch that went well."""
    files = tuple(
        Fetched(_encodable(file.name), file.role, file.size, file.sha256) for file in result.files
    )
    return Outcome(
        VERIFIED,
        revision=result.resolved_revision,
        digest=result.digest,
        size=result.size,
        file_count=len(files),
        header=result.header,
        files=files,
    )


def failed(error: FetchError) -> Outcome:
    """Return the outcome of a fetch that went wrong."""
    message = _encodable(error.message)
    if len(message) > MESSAGE_LIMIT:
        message = f"{message[: MESSAGE_LIMIT - 1]}…"
    return Outcome(error.reason, error.exit_code, message)


def line(outcome: Outcome) -> str:
    """Return the outcome as one line, with as much as fits into a termination message."""
    shorter = replace(outcome, files=outcome.files[:1])  # the first shard leads to the others
    shortest = replace(outcome, files=(), header=None)
    for kept in (outcome, shorter, replace(outcome, files=()), shortest):
        text = _ADAPTER.dump_json(kept).decode()
        if len(text.encode()) <= LIMIT_BYTES:
            return text
    message = outcome.message[: MESSAGE_LIMIT // 4]  # four bytes a character at most, and escapes
    return _ADAPTER.dump_json(Outcome(outcome.reason, outcome.exit_code, message)).decode()


def read(text: str) -> Outcome | None:
    """Return the outcome from a termination message, or None if it is none.

    A pod that was killed leaves no message, and one that never started leaves the kubelet's.
    """
    lines = text.strip().split("\n")  # not splitlines: messages may hold other line ends
    try:
        return _ADAPTER.validate_json(lines[-1])
    except ValidationError:
        return None


def _encodable(text: str) -> str:
    """Return the text with what is no Unicode replaced: names on disk may be any bytes."""
    return text.encode(errors="replace").decode()
