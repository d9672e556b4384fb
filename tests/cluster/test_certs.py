"""The certificates say who is who, and are signed by the cluster's own authorities."""

import json
import stat
from pathlib import Path

import pytest

from kit import api, certs, commands
from kit.certs import Addresses

AT = Addresses(api="10.77.0.1", port=6443, service="10.77.128.1", node="node-a")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    certs.write_all(folder, AT)
    return folder


def openssl(pki: Path, *words: str) -> str:
    return commands.run(["openssl", *words], folder=pki)


@pytest.mark.parametrize(
    ("name", "authority"),
    [
        ("apiserver", "ca"),
        ("kubelet", "ca"),
        ("admin", "ca"),
        ("front-proxy-client", "front-proxy-ca"),
    ],
)
def test_is_signed_by_its_authority(pki: Path, name: str, authority: str) -> None:
    assert "OK" in openssl(
        pki, "verify", "-x509_strict", "-CAfile", f"{authority}.crt", f"{name}.crt"
    )


def test_the_api_server_has_each_name_that_it_is_called_by(pki: Path) -> None:
    names = openssl(pki, "x509", "-in", "apiserver.crt", "-noout", "-ext", "subjectAltName")

    for name in ("127.0.0.1", "10.77.0.1", "10.77.128.1", "kubernetes.default.svc", "localhost"):
        assert name in names


def test_names_the_node_as_the_node_authorizer_expects(pki: Path) -> None:
    subject = openssl(pki, "x509", "-in", "node.crt", "-noout", "-subject")

    assert "system:nodes" in subject
    assert "system:node:node-a" in subject


def test_keys_are_for_their_owner_only(pki: Path) -> None:
    for file in [*pki.glob("*.key"), *pki.glob("*.kubeconfig")]:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_a_kubeconfig_is_all_that_a_client_needs(pki: Path) -> None:
    config = json.loads((pki / "admin.kubeconfig").read_text())

    assert config["clusters"][0]["cluster"]["server"] == "https://10.77.0.1:6443"
    with api.client(pki / "admin.kubeconfig") as client:
        assert str(client.base_url) == "https://10.77.0.1:6443"


def test_a_kubeconfig_with_no_way_to_log_in_is_refused(pki: Path) -> None:
    certs.write_kubeconfig(pki / "nobody.kubeconfig", AT, {"exec": "some-program"})

    with pytest.raises(api.NotUsable, match="no token or certificate"):
        api.client(pki / "nobody.kubeconfig")
