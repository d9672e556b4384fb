"""Requests to the API server, and the translation of what can go wrong with them.

kubernetes-asyncio is used for the login (kubeconfig, service account, tokens that rotate, plugins)
and for its session; its generated classes are not, for a manifest is a mapping already.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml
from kubernetes_asyncio import client, config

from tiergarten_operator.errors import (
    ApiError,
    Conflict,
    NotThere,
    NotUsable,
    Rejected,
    Unreachable,
)
from tiergarten_operator.facts import Kind, Manifest

IN_CLUSTER: Final = "KUBERNETES_SERVICE_HOST"
JSON: Final = "application/json"
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
PARTIAL: Final = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"

UID: Final = "metadata.uid"
ERRORS: Final[dict[int, type[ApiError]]] = {
    HTTPStatus.BAD_REQUEST: Rejected,
    HTTPStatus.FORBIDDEN: Rejected,
    HTTPStatus.NOT_FOUND: NotThere,
    HTTPStatus.METHOD_NOT_ALLOWED: NotThere,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.GONE: Conflict,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Rejected,
    HTTPStatus.UNPROCESSABLE_ENTITY: Rejected,
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to log in, for kopf, which has a client of its own."""

    server: str
    ca_path: str | None = None
    certificate_path: str | None = None
    private_key_path: str | None = None
    token: str | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        what: It in words, for errors: `apply Deployment a/q4`.
        method: The HTTP method.
        path: The path on the server.
        query: The query.
        body: What is sent, if anything.
        content_type: What the body is.
        accept: What the answer may be.
    """

    what: str
    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Mapping[str, Any] | None = None
    content_type: str = JSON
    accept: str = JSON


class Api:
    """Sends requests.

    Args:
        session: kubernetes-asyncio's client.
        seconds: Longest wait for one answer.
        answered: Told after each request whether the server answered at all.
    """

    def __init__(
        self,
        session: client.ApiClient,
        seconds: float,
        answered: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._session, self._seconds, self._answered = session, seconds, answered

    async def send(self, request: Request) -> Manifest:
        """Send a request and return the answer.

        Raises:
            ApiError: The server's answer is no.
            Unreachable: It gave none, or cannot answer at the moment.
        """
        try:
            answer = await self._session.call_api(
                request.path,
                request.method,
                query_params=list((request.query or {}).items()),
                header_params={"Accept": request.accept, "Content-Type": request.content_type},
                body=request.body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=self._seconds,
            )
            async with answer:
                text = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            self._answered(False)  # noqa: FBT003 -- the one thing that it is told
            raise Unreachable(request.what, type(error).__name__) from error
        self._answered(True)  # noqa: FBT003 -- as above
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise _error(request.what, answer.status, text, answer.headers)
        found: Manifest = json.loads(text)
        return found

    async def credentials(self) -> Credentials:
        """Return how to log in at this moment; a token may be another one later."""
        settings = self._session.configuration
        headers = (await settings.auth_settings()).get("BearerToken", {})
        token = str(headers.get("value", "")).removeprefix("Bearer ")
        return Credentials(
            server=str(settings.host),
            ca_path=settings.ssl_ca_cert,
            certificate_path=settings.cert_file,
            private_key_path=settings.key_file,
            token=token or None,
            insecure=not settings.verify_ssl,
        )


@asynccontextmanager
async def connect(
    kubeconfig: Path | None, seconds: float, answered: Callable[[bool], None] = lambda _: None
) -> AsyncIterator[Api]:
    """Log in, and yield what sends requests.

    Args:
        kubeconfig: A kubeconfig; None: the one that KUBECONFIG names, the pod's service account, or
            the user's own.
        seconds: Longest wait for one answer.
        answered: As `Api` has it.

    Raises:
        NotUsable: There is no login, or it is not a valid one.
    """
    try:
        session = client.ApiClient(await _login(kubeconfig))
    except (config.ConfigException, yaml.YAMLError, OSError, ValueError, TypeError) as error:
        where = kubeconfig or "this pod's account, KUBECONFIG or ~/.kube/config"
        cause = " ".join(str(error).split()) or type(error).__name__
        raise NotUsable(f"{where}: cannot log in: {cause}; name a kubeconfig") from error
    async with session:
        yield Api(session, seconds, answered)


async def _login(kubeconfig: Path | None) -> client.Configuration:
    settings = client.Configuration()
    if kubeconfig is None and IN_CLUSTER in os.environ and "KUBECONFIG" not in os.environ:
        config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]  # the library gives it no types
    else:
        file = str(kubeconfig) if kubeconfig is not None else None
        await config.load_kube_config(file, client_configuration=settings)
    return settings


def path(kind: Kind, namespace: str | None, name: str = "", subresource: str = "") -> str:
    """Return the path of an object, or of all of a kind."""
    root = "/api/v1" if kind.api_version == "v1" else f"/apis/{kind.api_version}"
    where = f"/namespaces/{namespace}" if namespace else ""
    tail = "".join(f"/{part}" for part in (name, subresource) if part)
    return f"{root}{where}/{kind.plural}{tail}"


def _error(
    what: str, status: int, text: bytes, headers: Mapping[str, str]
) -> ApiError | Unreachable:
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = text[:200].decode(errors="replace")
    if status == HTTPStatus.UNPROCESSABLE_ENTITY and UID in message:
        return Conflict(what, status, message)  # of some kinds a new uid counts as a change
    if (kind := ERRORS.get(status)) is not None:
        return kind(what, status, message)
    after = headers.get("Retry-After", "")
    seconds = float(after) if after.isdecimal() else None
    return Unreachable(what, f"{status}: {message}", seconds)
