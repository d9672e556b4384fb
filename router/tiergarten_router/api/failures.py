"""Errors of the doors that FastAPI serves, in the same shape as those of the hot ones."""

from collections.abc import Iterator

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from tiergarten_router.api import replies
from tiergarten_router.errors import InvalidRequest, MethodNotAllowed, NotFound, RouterError


def render(app: FastAPI, numbers: Iterator[str]) -> None:
    """Give every error of an application OpenAI's shape.

    Args:
        app: The application.
        numbers: Request ids for those who bring none.
    """

    def rendered(error: RouterError, request: Request) -> Response:
        headers = replies.error_headers(error, replies.request_id(request.scope, numbers))
        texts = {name.decode(): value.decode("latin-1") for name, value in headers}
        return Response(replies.error_body(error), error.status, texts)

    @app.exception_handler(RouterError)
    async def known(request: Request, error: RouterError) -> Response:
        return rendered(error, request)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        param = ".".join(map(str, first["loc"][1:]))
        return rendered(InvalidRequest(f"{param}: {first['msg']}.", param=param), request)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        if error.status_code == MethodNotAllowed.status:
            allowed = (error.headers or {}).get("Allow", "GET")
            return rendered(MethodNotAllowed(allowed), request)
        return rendered(NotFound("There is nothing at this path; see /docs."), request)
