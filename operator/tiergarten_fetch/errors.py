"""Everything that a fetch can end in but a model; each has a word, and an exit code of the program.

    FetchError                  exit code, reason
    ├── ChecksumMismatch        41  the bytes are not those that were asked for, or unknown
    ├── NotFound                42  no such repository, revision, file or folder
    ├── Unauthorized            43  the source wants a token, or refuses the one it got
    ├── NoSpace                 44  the folder cannot hold what is still to come
    ├── NotGGUF                 45  not a GGUF file, a version we do not read, or cut
    └── FetchFailed              1  anything else
        ├── Busy                    another fetch holds a file for longer than we wait
        └── Interrupted             one try failed; another may succeed

The reasons are those of the `ModelAvailable` condition, so they are part of the API. Messages name
the field, the value and the cure; they never hold a token, nor the query of a URL.
"""

from typing import ClassVar


class FetchError(Exception):
    """A fetch that ends without a model.

    Args:
        message: A sentence for people: field, value and cure.
    """

    exit_code: ClassVar[int] = 1
    reason: ClassVar[str] = "FetchFailed"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ChecksumMismatch(FetchError):
    """The sha256 differs from the one that was given or published, or there is none of both."""

    exit_code = 41
    reason = "ChecksumMismatch"


class NotFound(FetchError):
    """The repository, revision, file or folder is not there."""

    exit_code = 42
    reason = "NotFound"


class Unauthorized(FetchError):
    """The source answers 401 or 403."""

    exit_code = 43
    reason = "Unauthorized"


class NoSpace(FetchError):
    """The folder's file system has fewer bytes free than are still to come."""

    exit_code = 44
    reason = "NoSpace"


class NotGGUF(FetchError):
    """What was fetched or found is not a whole GGUF file."""

    exit_code = 45
    reason = "NotGGUF"


class FetchFailed(FetchError):
    """Any other failure."""


class Busy(FetchFailed):
    """Another fetch held a file until the longest wait was over."""


class Interrupted(FetchFailed):
    """One try failed in a way that may pass.

    Args:
        message: What happened.
        retry_after_seconds: What the source asked to wait, or None.
    """

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
