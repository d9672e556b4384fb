"""Everything that a reconcile can end in but success; the queue comes back to each of them.

    OperatorError
    ├── ApiError                the API server's answer to one request
    │   ├── Rejected                400, 403, 422: asking again gives the same
    │   ├── Conflict                409: the object is another one, or being deleted
    │   └── NotThere                404
    ├── Unreachable             no answer, or one that may differ next time: 429, 5xx, time-outs
    ├── LeaseLost               another operator leads: this one must end at once
    └── NotUsable               what the process was started with: it ends at once, with the cure

`cluster.api` translates; nothing from the client library gets past it.
"""


class OperatorError(Exception):
    """A reconcile that did not get to its end."""


class ApiError(OperatorError):
    """The API server's answer to one request.

    Args:
        what: The request, such as `apply Deployment a/q4`.
        status: The HTTP status.
        message: The API server's own words.
    """

    def __init__(self, what: str, status: int, message: str) -> None:
        super().__init__(f"{what}: {status}: {message}")
        self.what = what
        self.status = status
        self.message = message


class Rejected(ApiError):
    """The request is not allowed, or not a valid one."""


class Conflict(ApiError):
    """The object was replaced or is being deleted."""


class NotThere(ApiError):
    """There is no such object."""


class Unreachable(OperatorError):
    """The API server did not answer, or cannot at the moment.

    Args:
        what: The request.
        reason: What happened, in a few words.
        retry_after_seconds: When it asked to come back, or None.

    Attributes:
        most_seconds: Nobody tells when it is back, so a reconcile that failed of it never waits
            for longer on its own account.
    """

    most_seconds = 20.0

    def __init__(self, what: str, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{what}: {reason}")
        self.what = what
        self.retry_after_seconds = retry_after_seconds


class LeaseLost(OperatorError):
    """Another operator holds the lease, or it could not be renewed in time."""


class NotUsable(OperatorError):
    """A login or a port that the process was started with and cannot use."""
