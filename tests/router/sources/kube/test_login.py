"""Logging in: a pod's files as they are at the moment, a kubeconfig, and what is said when not."""

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from kit import certs
from tiergarten_router.sources.kube import login
from tiergarten_router.sources.kube.login import Kubeconfig, NoLogin, ServiceAccount

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
CONFIG = """
apiVersion: v1
kind: Config
current-context: mine
clusters: [{name: c, cluster: {server: "https://10.0.0.1:6443/", certificate-authority: ca.crt}}]
users: [{name: u, user: {token: hunter2}}]
contexts: [{name: mine, context: {cluster: c, user: u, namespace: team}}]
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates of a cluster."""
    folder = tmp_path_factory.mktemp("pki")
    certs.write_all(folder, certs.Addresses("127.0.0.1", 1, "10.0.0.1", "node"))
    return folder


@pytest.fixture
def account(tmp_path: Path, authority: Path) -> Path:
    """The files that a pod has."""
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "namespace").write_text("models")
    (tmp_path / "ca.crt").write_text((authority / "ca.crt").read_text())
    return tmp_path


@pytest.fixture
def kubeconfig(tmp_path: Path, authority: Path) -> Path:
    (tmp_path / "ca.crt").write_text((authority / "ca.crt").read_text())
    file = tmp_path / "config"
    file.write_text(CONFIG)
    return file


def write(file: Path, text: str) -> None:
    file.write_text(text)


async def test_a_pod_logs_in_by_its_own_files_as_they_are_now(account: Path) -> None:
    found = login.find(None, POD, account)
    first = await found.access()

    (account / "token").write_text("second")
    second = await found.access()

    assert found.namespace == "models"
    assert (first.server, first.token) == ("https://10.0.0.1:6443", "first")
    assert second.token == "second"  # noqa: S105 -- made up
    assert second.tls is first.tls


async def test_a_new_authority_is_trusted_at_once(account: Path, tmp_path: Path) -> None:
    found = login.find(None, POD, account)
    first = await found.access()
    others = tmp_path / "others"
    certs.write_all(others, certs.Addresses("127.0.0.1", 1, "10.0.0.1", "node"))

    (account / "ca.crt").write_text((others / "ca.crt").read_text())
    second = await found.access()

    assert first.tls is not None
    assert second.tls is not None
    assert first.tls.get_ca_certs() != second.tls.get_ca_certs()


@pytest.mark.parametrize("name", ["token", "ca.crt"])
async def test_a_file_that_is_missing_for_a_moment_is_named(account: Path, name: str) -> None:
    found = login.find(None, POD, account)
    (account / name).unlink()

    with pytest.raises(NoLogin, match=name):
        await found.access()


async def test_an_authority_that_is_no_certificate_is_named(account: Path) -> None:
    (account / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----")

    with pytest.raises(NoLogin, match="is no certificate"):
        await login.find(None, POD, account).access()


def test_a_pod_without_a_namespace_file_is_in_the_default_one(account: Path) -> None:
    (account / "namespace").unlink()

    assert login.find(None, POD, account).namespace == "default"


async def test_an_address_of_ipv6_stands_in_brackets(account: Path) -> None:
    found = login.find(None, {"KUBERNETES_SERVICE_HOST": "fd00::1"}, account)

    assert (await found.access()).server == "https://[fd00::1]:443"


async def test_a_kubeconfig_is_read(kubeconfig: Path) -> None:
    found = login.find(str(kubeconfig), POD)
    access = await found.access()

    assert isinstance(found, Kubeconfig)
    assert found.namespace == "team"
    assert (access.server, access.token) == ("https://10.0.0.1:6443", "hunter2")
    assert access.tls is not None
    assert access.tls.verify_mode is ssl.CERT_REQUIRED


async def test_a_kubeconfig_is_read_again_when_the_login_is_refused(kubeconfig: Path) -> None:
    found = login.find(str(kubeconfig), {})
    await found.access()
    write(kubeconfig, CONFIG.replace("hunter2", "hunter3"))

    kept, renewed = await found.access(), await found.access(refused=True)

    assert (kept.token, renewed.token) == ("hunter2", "hunter3")


async def test_certificates_and_an_unverified_server_are_a_kubeconfig_s_right(
    kubeconfig: Path, authority: Path
) -> None:
    user = f"client-certificate: {authority}/admin.crt, client-key: {authority}/admin.key"
    wish = CONFIG.replace("certificate-authority: ca.crt", "insecure-skip-tls-verify: true")
    write(kubeconfig, wish.replace("token: hunter2", user))

    access = await login.find(str(kubeconfig), {}).access()

    assert access.token == ""
    assert access.tls is not None
    assert access.tls.verify_mode is ssl.CERT_NONE


async def test_plain_http_needs_no_tls(kubeconfig: Path) -> None:
    write(kubeconfig, CONFIG.replace("https://", "http://"))

    assert (await login.find(str(kubeconfig), {}).access()).tls is None


def test_a_shell_s_own_kubeconfigs_are_found(
    kubeconfig: Path, tmp_path: Path, account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = login.find(None, {"KUBECONFIG": f"{tmp_path}/missing:{kubeconfig}"}, account)
    assert named.namespace == "team"

    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(CONFIG.replace("team", "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert login.find(None, {}, tmp_path / "nothing").namespace == "home"
    assert isinstance(login.find(None, POD, account), ServiceAccount)


def test_a_context_without_a_namespace_is_in_the_default_one(kubeconfig: Path) -> None:
    kubeconfig.write_text(CONFIG.replace(", namespace: team", ""))

    assert login.find(str(kubeconfig), {}).namespace == "default"


def test_without_any_login_both_ways_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    with pytest.raises(NoLogin, match=r"KUBERNETES_SERVICE_HOST is not set.*\.kube/config.*local"):
        login.find(None, {}, tmp_path)


def test_a_kubeconfig_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoLogin, match="missing: there is no such kubeconfig"):
        login.find(str(tmp_path / "missing"), {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("users: [token: hunter2", r"is no kubeconfig \(ParserError, line"),
        ("- hunter2", "it has no contexts"),
        ("contexts: hunter2", "it has no contexts"),
        ("contexts: [hunter2]\ncurrent-context: mine", "no context is current-context 'mine'"),
        ("{}", "no context is current-context None"),
        ("\0", "is no kubeconfig"),
    ],
)
def test_a_kubeconfig_that_is_none_is_refused_without_what_it_holds(
    tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "config"
    file.write_text(text)

    with pytest.raises(NoLogin, match=words) as caught:
        login.find(str(file), {})

    assert "hunter2" not in str(caught.value)


async def test_a_kubeconfig_that_lacks_its_files_is_refused(kubeconfig: Path) -> None:
    (kubeconfig.parent / "ca.crt").unlink()

    with pytest.raises(NoLogin, match=r"cannot be used to log in: .*"):
        await login.find(str(kubeconfig), {}).access()


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_the_library_is_imported_for_a_kubeconfig_only() -> None:
    loaded = run(
        "import sys; from tiergarten_router.sources.kube import source;"
        "print([name for name in sys.modules if name.startswith('kubernetes')])"
    )

    assert loaded == "[]\n"


def test_a_missing_library_is_named(kubeconfig: Path) -> None:
    said = run(
        "import asyncio, sys; sys.modules['kubernetes_asyncio'] = None\n"
        "from tiergarten_router.sources.kube import login\n"
        f"found = login.find({str(kubeconfig)!r}, {{}})\n"
        "try: asyncio.run(found.access())\n"
        "except login.NoLogin as error: print(error)"
    )

    assert "pip install kubernetes-asyncio" in said
    assert os.sep in said
