"""Everything that a query can end in but an answer; one handler renders them all.

RouterError                 status, code, type, param, retry_after_seconds
├── InvalidRequest          400 invalid_request: the client's mistake, named by parameter
│   ├── BodyTooLarge        413 request_too_large
│   ├── HeadTooLarge        431 headers_too_large
│   ├── RequestTimeout      408 request_timeout
│   ├── UnknownModel        404 model_not_found
│   ├── NotFound            404 not_found: no such path or tier
│   ├── MethodNotAllowed    405 method_not_allowed
│   ├── UpgradeRequired     426 upgrade_required: the path takes WebSockets
│   ├── Unauthorized        401 unauthorized: no token, or a wrong one
│   ├── ForeignOrigin       403 origin_not_allowed: a web page that is not listed
│   ├── ContextExceeded     400 context_length_exceeded
│   └── Unsupported         400 unsupported_by_tier
├── ClientGone              499 client_closed: nobody is left to answer
├── NoReadyTier             503 no_ready_tier
├── Saturated               429 saturated: every slot and queue is full, or 503: all are loading
├── DeadlineExceeded        504 deadline_exceeded
└── AttemptFailed           502 upstream_failed: one try at one endpoint failed
    ├── ConnectFailed           nothing came back
    ├── NotReadyYet             503 while loading, or 429 when full: `saturated`, not broken
    ├── Misconfigured           401, 404 and the like: the router's key or path is wrong
    ├── FirstTokenTimeout
    ├── StreamBroken            died, stalled or sent garbage after it began
    └── Refused                 the upstream's 4xx: shown to the client, never retried
        └── ContextOverflow     the prompt does not fit this tier's slot
"""

from http import HTTPStatus
from typing import ClassVar


class RouterError(Exception):
    """A query that ends without an answer.

    Args:
        message: A sentence for the client: what is wrong and what to do. No secrets, no addresses.
        param: The request's parameter that is to blame, in OpenAI's notation, or None.
        retry_after_seconds: When to come back, or None when waiting does not help.
        status: Another HTTP status than the class has, or None.
    """

    status: int = HTTPStatus.INTERNAL_SERVER_ERROR
    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"
    outcome: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_seconds: int | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        if status is not None:
            self.status = status
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds


class InvalidRequest(RouterError):
    """The client's mistake."""

    status = HTTPStatus.BAD_REQUEST
    code = "invalid_request"
    type = "invalid_request_error"
    outcome = "client_error"


class BodyTooLarge(InvalidRequest):
    """More bytes than a body may have."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "request_too_large"


class HeadTooLarge(InvalidRequest):
    """More bytes or headers than a request's head may have."""

    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    code = "headers_too_large"


class RequestTimeout(InvalidRequest):
    """The head or the body did not arrive in time."""

    status = HTTPStatus.REQUEST_TIMEOUT
    code = "request_timeout"


class UnknownModel(InvalidRequest):
    """No route and no tier has the name that was asked for."""

    status = HTTPStatus.NOT_FOUND
    code = "model_not_found"


class NotFound(InvalidRequest):
    """There is nothing at this path, or no tier of this name."""

    status = HTTPStatus.NOT_FOUND
    code = "not_found"


class MethodNotAllowed(InvalidRequest):
    """The path takes other methods.

    Args:
        allowed: The methods that it takes, as in the header `Allow`.
    """

    status = HTTPStatus.METHOD_NOT_ALLOWED
    code = "method_not_allowed"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"This path takes {allowed} only.")
        self.allowed = allowed


class UpgradeRequired(InvalidRequest):
    """The path takes WebSockets only."""

    status = HTTPStatus.UPGRADE_REQUIRED
    code = "upgrade_required"


class Unauthorized(InvalidRequest):
    """A token is wanted, and none or a wrong one was presented."""

    status = HTTPStatus.UNAUTHORIZED
    code = "unauthorized"
    type = "authentication_error"


class ForeignOrigin(InvalidRequest):
    """A browser asks for a page whose origin is not on the list."""

    status = HTTPStatus.FORBIDDEN
    code = "origin_not_allowed"


class ContextExceeded(InvalidRequest):
    """The prompt fits no tier's slot."""

    code = "context_length_exceeded"


class Unsupported(InvalidRequest):
    """No tier of the route can do what the request needs, such as images or embeddings."""

    code = "unsupported_by_tier"


class ClientGone(RouterError):
    """The client left before the answer was there."""

    status = 499
    code = "client_closed"
    outcome = "client_closed"


class NoReadyTier(RouterError):
    """No tier that may answer has a ready endpoint."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "no_ready_tier"
    outcome = "shed"


class Saturated(RouterError):
    """No slot came free in time or the queue is full (429), or all endpoints are loading (503)."""

    status: int = HTTPStatus.TOO_MANY_REQUESTS
    code = "saturated"
    outcome = "shed"


class DeadlineExceeded(RouterError):
    """The route's total time is over."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "deadline_exceeded"
    outcome = "upstream_error"


class AttemptFailed(RouterError):
    """One try at one endpoint failed; another endpoint or tier may follow.

    Attributes:
        cause: The name that `TierRoute.spec.fallback.on` uses for it.
        breaks: Whether the endpoint's breaker counts it.
        died: Whether the connection was lost with the query in it: the query may be what kills.
    """

    status: int = HTTPStatus.BAD_GATEWAY
    code = "upstream_failed"
    outcome = "upstream_error"
    cause: ClassVar[str] = "ServerError"
    breaks: ClassVar[bool] = True
    died: bool = False


class ConnectFailed(AttemptFailed):
    """No connection could be made, or it was lost before the request was read."""

    cause = "ConnectFailure"


class NotReadyYet(AttemptFailed):
    """The endpoint says that it is loading (503) or full (429), and when to come back."""

    status: int = HTTPStatus.SERVICE_UNAVAILABLE
    code = "saturated"
    outcome = "shed"
    cause = "Saturated"
    breaks = False


class Misconfigured(AttemptFailed):
    """The endpoint refuses what the router is, not what the client asks: a wrong key or path."""

    breaks = False


class FirstTokenTimeout(AttemptFailed):
    """No content came in the time that the route allows."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "first_token_timeout"
    cause = "Timeout"


class StreamBroken(AttemptFailed):
    """The stream died, stalled or sent what is not an event."""

    code = "upstream_disconnected"


class Refused(AttemptFailed):
    """The upstream called it the client's mistake; no other endpoint is asked."""

    breaks = False
    outcome = "client_error"
    type = "invalid_request_error"
    code = "invalid_request"

    def __init__(self, message: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message, status=status)


class ContextOverflow(Refused):
    """The prompt does not fit this tier's slot.

    Args:
        prompt_tokens: The prompt's length as the tier's own tokenizer counted it.
        slot_tokens: What the slot holds.
    """

    cause = "ContextOverflow"
    code = "context_length_exceeded"

    def __init__(self, message: str, prompt_tokens: int, slot_tokens: int) -> None:
        super().__init__(message)
        self.prompt_tokens = prompt_tokens
        self.slot_tokens = slot_tokens
