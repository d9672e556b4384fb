"""How to log in to the API server: a pod's service account by its own files, or a kubeconfig.

Called by `cli.serve` and `api`. The service account needs no library. A kubeconfig has many ways to
log in, so kubernetes-asyncio reads it, imported only then: it costs 38 MiB.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import yaml

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HOST: Final = "KUBERNETES_SERVICE_HOST"
PORT: Final = "KUBERNETES_SERVICE_PORT"
KUBECONFIG: Final = "KUBECONFIG"
DEFAULT: Final = "default"
PLUGIN_SECONDS: Final = 60.0  # a plugin may ask its user to log in


class NoLogin(Exception):
    """There is no way to log in; the message names what was looked at, and the cure."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the API server at this moment; a token may be another one later.

    Attributes:
        server: Base URL without a slash at its end.
        tls: Whom to trust and as whom to come; None for plain HTTP.
        token: Bearer token, empty if the certificate is enough.
        server_name: The name that the server's certificate must have, None for that of the URL.
        proxy: A proxy's URL, or None.
    """

    server: str
    tls: ssl.SSLContext | None = field(repr=False)
    token: str = field(default="", repr=False)
    server_name: str | None = None
    proxy: str | None = None


class Login(Protocol):
    """A way to log in.

    Attributes:
        namespace: Where it is at home.
        trust_env: Whether proxies of the environment are used.
    """

    namespace: str
    trust_env: bool

    async def access(self, *, refused: bool = False) -> Access:
        """Return how to log in now.

        Args:
            refused: Whether the API server has refused what was returned last.

        Raises:
            NoLogin: If that cannot be told at the moment.
        """
        ...


class ServiceAccount:
    """A pod's login; its files are read again for every request, for the kubelet renews them.

    Args:
        server: URL of the API server.
        folder: Where the files are.
    """

    def __init__(self, server: str, folder: Path = ACCOUNT) -> None:
        self.namespace = _text(folder / "namespace", optional=True) or DEFAULT
        self.trust_env = False  # a proxy is for the world outside
        self._server, self._folder = server, folder
        self._authority = ""
        self._tls: ssl.SSLContext | None = None

    async def access(self, *, refused: bool = False) -> Access:  # noqa: ARG002 -- it is fresh in any case
        """Return how to log in now."""
        authority = _text(self._folder / "ca.crt")
        if self._tls is None or authority != self._authority:
            try:
                self._tls = ssl.create_default_context(cadata=authority)
            except (ssl.SSLError, ValueError) as error:
                raise NoLogin(f"{self._folder / 'ca.crt'}: is no certificate") from error
            self._authority = authority
        return Access(self._server, self._tls, _text(self._folder / "token"))


class Kubeconfig:
    """A user's login, as kubectl has it; read again when the API server refuses it.

    Args:
        file: The file; several, as in KUBECONFIG, are merged.
        namespace: That of its current context.
    """

    def __init__(self, file: str, namespace: str) -> None:
        self.namespace = namespace
        self.trust_env = True
        self._file = file
        self._known: Access | None = None

    async def access(self, *, refused: bool = False) -> Access:
        """Return how to log in now."""
        if self._known is None or refused:
            self._known = await self._read()
        return self._known

    async def _read(self) -> Access:
        try:
            from kubernetes_asyncio import client, config  # noqa: PLC0415 -- see the module
        except ModuleNotFoundError as error:
            raise NoLogin(
                f"{self._file}: a kubeconfig is read by kubernetes-asyncio, which is not installed;"
                " pip install kubernetes-asyncio"
            ) from error
        found = client.Configuration()
        try:
            async with asyncio.timeout(PLUGIN_SECONDS):
                await config.load_kube_config(self._file, client_configuration=found)
            return Access(
                str(found.host).rstrip("/"),
                _context(found) if str(found.host).startswith("https") else None,
                str(found.api_key.get("BearerToken", "")).removeprefix("Bearer "),
                found.tls_server_name,
                found.proxy,
            )
        except Exception as error:  # the library raises whatever its parsers and plugins meet
            raise NoLogin(f"{self._file}: cannot be used to log in: {_words(error)}") from error


def find(kubeconfig: str | None, environ: Mapping[str, str], account: Path = ACCOUNT) -> Login:
    """Return how to log in: a given kubeconfig, else the pod's own account, else kubectl's file.

    Args:
        kubeconfig: The file that the user wants, or None.
        environ: The environment.
        account: Where a pod's files are.

    Raises:
        NoLogin: If there is no way, or it cannot be read.
    """
    if kubeconfig is None and environ.get(HOST) and (account / "token").exists():
        return ServiceAccount(_server(environ), account)
    files = kubeconfig or environ.get(KUBECONFIG) or str(Path.home() / ".kube" / "config")
    paths = [Path(path).expanduser() for path in files.split(":") if path]
    there = [path for path in paths if path.is_file()]
    if not there and kubeconfig is not None:
        raise NoLogin(f"{kubeconfig}: there is no such kubeconfig; correct --kubeconfig")
    if not there:
        raise NoLogin(
            f"no cluster: {HOST} is not set, so this is no pod, and there is no kubeconfig at "
            f"{files}; name one with --kubeconfig, or use tiergarten local without a cluster"
        )
    return Kubeconfig(":".join(map(str, there)), _namespace(there))


def _server(environ: Mapping[str, str]) -> str:
    host, port = environ[HOST], environ.get(PORT) or "443"
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"


def _text(file: Path, *, optional: bool = False) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        if optional:
            return ""
        raise NoLogin(f"{file}: cannot be read ({type(error).__name__})") from error


def _namespace(files: list[Path]) -> str:
    """Return the namespace of the current context; the first file that has the name counts.

    Raises:
        NoLogin: If a file is no kubeconfig, or no context is the current one.
    """
    parsed = [_parsed(file) for file in files]
    current = next(filter(None, (found.get("current-context") for found in parsed)), None)
    contexts = [context for found in parsed for context in found.get("contexts") or ()]
    for context in contexts:
        if isinstance(context, dict) and context.get("name") == current and current:
            return str((context.get("context") or {}).get("namespace") or DEFAULT)
    names = ", ".join(map(str, files))
    raise NoLogin(
        f"{names}: no context is current-context {current!r}; kubectl config use-context NAME"
    )


def _parsed(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        # Not the error's own text: it quotes the file, which holds keys.
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise NoLogin(f"{file}: is no kubeconfig ({type(error).__name__}{line})") from error
    if not isinstance(found, dict) or not isinstance(found.get("contexts") or [], list):
        raise NoLogin(f"{file}: is no kubeconfig; it has no contexts")
    return found


def _context(found: Any) -> ssl.SSLContext:  # noqa: ANN401 -- the library's Configuration
    tls = ssl.create_default_context(cafile=found.ssl_ca_cert)
    if found.cert_file:
        tls.load_cert_chain(found.cert_file, found.key_file)
    if not found.verify_ssl:  # the user's own wish: insecure-skip-tls-verify
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return tls


def _words(error: Exception) -> str:
    """Return an error's kind and its first line, cut: a plugin may say pages."""
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}{f': {first[:200]}' if first else ''}"
