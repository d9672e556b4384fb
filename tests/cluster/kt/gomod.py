"""Write go.mod for other versions: `python gomod.py 1.36.4 3.6.8 > go.mod && go mod tidy`.

k8s.io/kubernetes names the modules that are staged inside it as v0.0.0, so each needs a replace.
"""

import sys

STAGED = [
    *("api", "apiextensions-apiserver", "apimachinery", "apiserver", "cli-runtime", "client-go"),
    *("cloud-provider", "cluster-bootstrap", "code-generator", "component-base"),
    *("component-helpers", "controller-manager", "cri-api", "cri-client", "cri-streaming"),
    *("csi-translation-lib", "dynamic-resource-allocation", "endpointslice", "externaljwt", "kms"),
    *("kube-aggregator", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl"),
    *("kubelet", "metrics", "mount-utils", "pod-security-admission", "sample-apiserver"),
    "streaming",
]


def text(kubernetes: str, etcd: str) -> str:
    """Return go.mod for versions of Kubernetes, from 1.36 on, and etcd."""
    staged = f"v0.{kubernetes.partition('.')[2]}"
    replaced = "\n".join(f"\tk8s.io/{name} => k8s.io/{name} {staged}" for name in STAGED)
    return f"""\
module kt

go 1.26.0

require (
	github.com/spf13/cobra v1.10.0
	go.etcd.io/etcd/server/v3 v{etcd}
	k8s.io/component-base {staged}
	k8s.io/kubernetes v{kubernetes}
)

replace (
{replaced}
)
"""


if __name__ == "__main__":
    sys.stdout.write(text(sys.argv[1], sys.argv[2]))
