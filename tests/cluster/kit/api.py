"""A plain HTTP client for an API server, and the few requests that the kit itself makes.

Tests use it too: it shows what went over the wire, and knows nothing of the code under test.
"""

import base64
import contextlib
import json
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

TIMEOUT_SECONDS = 20
APPLY = {"Content-Type": "application/apply-patch+yaml"}
MERGE = {"Content-Type": "application/merge-patch+json"}


class NotUsable(ValueError):
    """A kubeconfig asks for a way to log in that this client lacks."""


def client(kubeconfig: Path) -> httpx.Client:
    """Return a client for the current context of a kubeconfig.

    Raises:
        NotUsable: Its user has neither token, token file nor client certificate.
    """
    config = yaml.safe_load(kubeconfig.read_text())
    context = _named(config, "contexts", config["current-context"])["context"]
    cluster = _named(config, "clusters", context["cluster"])["cluster"]
    user = _named(config, "users", context["user"])["user"]
    folder = kubeconfig.parent
    token = user.get("token") or (
        (folder / user["tokenFile"]).read_text().strip() if user.get("tokenFile") else None
    )
    tls = _trust(cluster, folder)
    certificate = _content(user, "client-certificate", folder)
    key = _content(user, "client-key", folder)
    if certificate and key:
        with (
            tempfile.NamedTemporaryFile() as pem
        ):  # ssl reads a client certificate from a file only
            pem.write(certificate + b"\n" + key)
            pem.flush()
            tls.load_cert_chain(pem.name)
    elif not token:
        raise NotUsable(f"{kubeconfig}: user {context['user']!r} has no token or certificate")
    return httpx.Client(
        base_url=cluster["server"],
        verify=tls,
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )


def apply(
    api: httpx.Client,
    path: str,
    body: Mapping[str, Any],
    *,
    manager: str = "test",
    force: bool = False,
) -> httpx.Response:
    """Apply an object on the server; unknown fields are refused."""
    query = {"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Strict"}
    return api.patch(path, params=query, content=json.dumps(body), headers=APPLY)


def merge(
    api: httpx.Client, path: str, body: Mapping[str, Any], *, manager: str = "test"
) -> httpx.Response:
    """Merge a change into an object."""
    return api.patch(
        path, params={"fieldManager": manager}, content=json.dumps(body), headers=MERGE
    )


def answers(api: httpx.Client, path: str) -> bool:
    """Say whether a GET of a path succeeds; a server that is not there does not."""
    with contextlib.suppress(httpx.HTTPError):
        return api.get(path, timeout=2).is_success
    return False


def token(api: httpx.Client, namespace: str, service_account: str) -> str:
    """Return a token of a service account, good for an hour."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
    answer = api.post(path, json={"spec": {"expirationSeconds": 3600}}).raise_for_status()
    return str(answer.json()["status"]["token"])


def _named(config: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(entry for entry in config[kind] if entry["name"] == name)
    return found


def _content(entry: Mapping[str, Any], key: str, folder: Path) -> bytes | None:
    """Return what an entry holds itself, or in a file that it names."""
    if entry.get(f"{key}-data"):
        return base64.b64decode(entry[f"{key}-data"])
    return (folder / entry[key]).read_bytes() if entry.get(key) else None


def _trust(cluster: Mapping[str, Any], folder: Path) -> ssl.SSLContext:
    authority = _content(cluster, "certificate-authority", folder)
    tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return tls
