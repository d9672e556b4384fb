"""Makes every certificate, key and kubeconfig of a test cluster, with the `openssl` program.

The program rather than a library: it is on every machine that runs tests, and one call issues one
certificate. All keys are made anew for each cluster and go away with its folder.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit import commands

CURVE = ["-pkeyopt", "ec_paramgen_curve:P-256"]
SERVICE = "kubernetes.default.svc"
# openssl's own configuration would add extensions of its own to what is asked for.
CONFIG = "[req]\ndistinguished_name = name\n[name]\n"
# Who may do what is decided by these names: RBAC knows the groups and the system: users.
USERS = {
    "admin": "/O=system:masters/CN=test-admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
}


@dataclass(frozen=True)
class Addresses:
    """Where the cluster is reached: by clients, by pods through a Service, and its node's name."""

    api: str
    port: int
    service: str
    node: str


def write_all(folder: Path, at: Addresses) -> None:
    """Fill a folder with all that the parts of a cluster need to know each other."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "openssl.cnf"
    config.write_text(CONFIG)
    for authority in ("ca", "front-proxy-ca"):
        _issue(
            folder, authority, f"/CN=test-{authority}", ["keyUsage=critical,keyCertSign,cRLSign"]
        )
    _issue_server(folder, "apiserver", "/CN=kube-apiserver", _names(at))
    node = f"/O=system:nodes/CN=system:node:{at.node}"
    _issue_server(folder, "kubelet", node, [f"IP:{at.api}", f"DNS:{at.node}"])
    _issue_client(folder, "apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver")
    _issue_client(folder, "front-proxy-client", "/CN=front-proxy-client", "front-proxy-ca")
    _openssl(folder, "genpkey", "-algorithm", "EC", *CURVE, "-out", "sa.key")
    _openssl(folder, "pkey", "-in", "sa.key", "-pubout", "-out", "sa.pub")
    for user, subject in (USERS | {"node": node}).items():
        _issue_client(folder, user, subject)
        write_kubeconfig(folder / f"{user}.kubeconfig", at, _certificate(folder, user))


def write_kubeconfig(file: Path, at: Addresses, user: dict[str, str]) -> None:
    """Write a kubeconfig for one user beside `ca.crt`."""
    cluster = {
        "server": f"https://{at.api}:{at.port}",
        "certificate-authority-data": _base64(file.parent / "ca.crt"),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    file.touch(mode=0o600)
    file.write_text(json.dumps(document, indent=1))


def _names(at: Addresses) -> list[str]:
    hosts = ["localhost", "kubernetes", "kubernetes.default", SERVICE, f"{SERVICE}.cluster.local"]
    addresses = sorted({"127.0.0.1", at.api, at.service})
    return [f"DNS:{host}" for host in hosts] + [f"IP:{address}" for address in addresses]


def _certificate(folder: Path, name: str) -> dict[str, str]:
    return {
        "client-certificate-data": _base64(folder / f"{name}.crt"),
        "client-key-data": _base64(folder / f"{name}.key"),
    }


def _issue_server(folder: Path, name: str, subject: str, alternatives: Sequence[str]) -> None:
    names = f"subjectAltName={','.join(alternatives)}"
    _issue(folder, name, subject, [names, "extendedKeyUsage=serverAuth"], "ca")


def _issue_client(folder: Path, name: str, subject: str, authority: str = "ca") -> None:
    _issue(folder, name, subject, ["extendedKeyUsage=clientAuth"], authority)


def _issue(
    folder: Path, name: str, subject: str, extensions: Sequence[str], authority: str | None = None
) -> None:
    """Make a key and its certificate, signed by an authority or by itself."""
    kind = f"basicConstraints=critical,CA:{'FALSE' if authority else 'TRUE'}"
    wanted = [kind, "subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid", *extensions]
    signer = ["-CA", f"{authority}.crt", "-CAkey", f"{authority}.key"] if authority else []
    files = ["-keyout", f"{name}.key", "-out", f"{name}.crt"]
    request = ["req", "-config", "openssl.cnf", "-x509", "-new", "-newkey", "ec", *CURVE, "-nodes"]
    added = [word for extension in wanted for word in ("-addext", extension)]
    _openssl(folder, *request, "-days", "365", "-subj", subject, *files, *signer, *added)


def _openssl(folder: Path, *words: str) -> None:
    commands.run(["openssl", *words], folder=folder)


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
