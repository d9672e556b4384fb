"""The configuration files of the parts. Pure, but for `write_all`, which writes them."""

import json
from pathlib import Path
from typing import Any

from kit.plan import NODE, Plan

PAUSE_IMAGE = "docker.io/local/pause:1"
# Debian's folder for the network plugins comes first, then the one of other distributions.
PLUGIN_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))

CONTAINERD = """\
version = 3
root = "{plan.folder}/containerd"
state = "{plan.folder}/containerd-run"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
  address = "{plan.containerd}"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{snapshotter}"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
  # Root of a container often lacks CAP_SYS_RESOURCE, and then no score may be lowered.
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{plugins}"]
    conf_dir = "{plan.configs}/net.d"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""


def write_all(plan: Plan, *, open_files: int, snapshotter: str) -> None:
    """Write the files that the parts of a plan read.

    Args:
        plan: The cluster.
        open_files: The most files that kubelet may open; at most the hard limit of this process.
        snapshotter: How containerd keeps unpacked images, "overlayfs" or "native".
    """
    (plan.configs / "net.d").mkdir(parents=True, exist_ok=True)
    _write(plan.configs / "audit.json", audit_policy())
    if plan.network:
        (plan.configs / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        (plan.configs / "containerd.toml").write_text(containerd(plan, snapshotter))
        _write(plan.configs / "net.d" / "10-test.conflist", network(plan))
        _write(plan.configs / "kubelet.json", kubelet(plan, open_files))
        _write(plan.configs / "proxy.json", proxy(plan))


def audit_policy() -> dict[str, Any]:
    """Return what is logged: each request of a service account that a test made.

    That shows which verbs of a role are used.
    """
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
            {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
            {"level": "None"},
        ],
    }


def containerd(plan: Plan, snapshotter: str) -> str:
    """Return containerd's configuration."""
    plugins = next((f for f in PLUGIN_FOLDERS if (f / "bridge").exists()), PLUGIN_FOLDERS[0])
    return CONTAINERD.format(plan=plan, pause=PAUSE_IMAGE, plugins=plugins, snapshotter=snapshotter)


def network(plan: Plan) -> dict[str, Any]:
    """Return the pods' network: a bridge, with addresses from one range."""
    addresses = {
        "type": "host-local",
        "dataDir": f"{plan.folder}/ipam",
        "ranges": [[{"subnet": plan.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": addresses,
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "test", "plugins": [bridge, ports]}


def kubelet(plan: Plan, open_files: int) -> dict[str, Any]:
    """Return kubelet's configuration."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{plan.cgroup}",
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{plan.containerd}",
        "oomScoreAdj": 0,
        "maxOpenFiles": open_files,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{plan.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{plan.pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{plan.pki}/kubelet.key",
        "clusterDomain": "cluster.local",
        "clusterDNS": [],
        "resolvConf": f"{plan.configs}/resolv.conf",
        "makeIPTablesUtilChains": False,
        # The disk is the machine's own; how full others made it must not fail a test.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "200Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
        },
        "podLogsDir": f"{plan.folder}/pods",
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
        "serializeImagePulls": True,
        "maxPods": 60,
        "shutdownGracePeriod": "0s",
        "registerNode": True,
    }


def proxy(plan: Plan) -> dict[str, Any]:
    """Return kube-proxy's configuration; connection tracking is left as the kernel has it."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": f"{plan.pki}/proxy.kubeconfig"},
        "hostnameOverride": NODE,
        "clusterCIDR": plan.pods,
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "bindAddress": plan.address,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }


def _write(file: Path, document: dict[str, Any]) -> None:
    file.write_text(json.dumps(document, indent=1))
