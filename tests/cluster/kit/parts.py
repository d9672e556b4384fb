"""The command line of each part of a cluster. Pure: a plan in, words out."""

from kit.plan import NODE, Plan


def command(plan: Plan, part: str) -> list[str]:
    """Return the command line of a part."""
    flags = {
        "etcd": _etcd,
        "kube-apiserver": _api_server,
        "kube-controller-manager": _controller_manager,
        "kube-scheduler": _scheduler,
        "containerd": _containerd,
        "kubelet": _kubelet,
        "kube-proxy": _proxy,
    }[part](plan)
    return [*_program(plan, part), *flags]


def _program(plan: Plan, part: str) -> list[str]:
    if part == "containerd":
        return [part]
    if plan.programs.is_dir():
        return [str(plan.programs / part)]
    return [str(plan.programs), part]


def _etcd(plan: Plan) -> list[str]:
    clients, peers = plan.etcd, f"http://127.0.0.1:{plan.ports.etcd_peers}"
    return [
        f"--data-dir={plan.folder}/etcd",
        "--unsafe-no-fsync",  # nothing here survives the machine anyway
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--log-level=warn",
    ]


def _api_server(plan: Plan) -> list[str]:
    pki = plan.pki
    flags = [
        f"--etcd-servers={plan.etcd}",
        f"--bind-address={'0.0.0.0' if plan.network else plan.address}",  # noqa: S104 - in a network of its own
        f"--secure-port={plan.ports.api}",
        f"--advertise-address={plan.address}",
        f"--service-cluster-ip-range={plan.services}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        "--allow-privileged=true",
        "--shutdown-delay-duration=0s",
        "--profiling=false",
        f"--audit-policy-file={plan.configs}/audit.json",
        f"--audit-log-path={plan.log('audit')}",
        *_front_proxy(plan),
    ]
    if not plan.network:  # a loopback address may not stand in Endpoints
        return [*flags, "--endpoint-reconciler-type=none"]
    return [
        *flags,
        f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
    ]


def _front_proxy(plan: Plan) -> list[str]:
    """Return what lets an APIService stand in, for a metrics server for example."""
    return [
        f"--requestheader-client-ca-file={plan.pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={plan.pki}/front-proxy-client.crt",
        f"--proxy-client-key-file={plan.pki}/front-proxy-client.key",
    ]


def _controller_manager(plan: Plan) -> list[str]:
    return [
        *_login(plan, "controller-manager"),
        f"--secure-port={plan.ports.controller_manager}",
        f"--service-account-private-key-file={plan.pki}/sa.key",
        f"--root-ca-file={plan.pki}/ca.crt",
        f"--cluster-signing-cert-file={plan.pki}/ca.crt",
        f"--cluster-signing-key-file={plan.pki}/ca.key",
        "--use-service-account-credentials=true",
        "--kube-api-qps=500",  # else the start waits for its own limit, asking for 40 tokens
        "--kube-api-burst=1000",
        "--allocate-node-cidrs=false",
        "--node-monitor-grace-period=20s",
        "--horizontal-pod-autoscaler-sync-period=5s",
    ]


def _scheduler(plan: Plan) -> list[str]:
    return _login(plan, "scheduler")


def _login(plan: Plan, user: str) -> list[str]:
    kubeconfig = f"{plan.pki}/{user}.kubeconfig"
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


def _containerd(plan: Plan) -> list[str]:
    return ["--config", f"{plan.configs}/containerd.toml"]


def _kubelet(plan: Plan) -> list[str]:
    return [
        f"--config={plan.configs}/kubelet.json",
        f"--kubeconfig={plan.pki}/node.kubeconfig",
        f"--root-dir={plan.folder}/kubelet",
        f"--cert-dir={plan.pki}",
        f"--hostname-override={NODE}",
        f"--node-ip={plan.address}",
        "--v=2",
    ]


def _proxy(plan: Plan) -> list[str]:
    return [f"--config={plan.configs}/proxy.json"]
