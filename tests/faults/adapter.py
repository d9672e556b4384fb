"""A stand-in for a custom-metrics adapter: answers what an autoscaler asks about pods."""

import contextlib
import http.server
import json
import re
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

from kit.cluster import Cluster

GROUP = "custom.metrics.k8s.io"
VERSION = f"{GROUP}/v1beta2"
ASKED = re.compile(rf"/apis/{VERSION}/namespaces/([^/]+)/pods/\*/([^/?]+)")
SERVICES = "/api/v1/namespaces/default/services"
API_SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
NAME = "custom-metrics"


class Adapter:
    """What it answers.

    Attributes:
        values: Of each pod, by its name.
        asked: Names of metrics that were asked for.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.values: dict[str, int] = {}
        self.asked: set[str] = set()

    def answer(self, path: str) -> dict[str, Any] | None:
        """Return the answer to a request; None for what an adapter does not know."""
        if path.split("?", maxsplit=1)[0] == f"/apis/{VERSION}":
            about = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": VERSION}
            return about | {"resources": []}
        match = ASKED.match(path.replace("%2A", "*").replace("%3A", ":"))
        if match is None:
            return None
        namespace, metric = match.groups()
        self.asked.add(metric)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        items = [
            {
                "describedObject": {"kind": "Pod", "namespace": namespace, "name": name},
                "metric": {"name": metric},
                "timestamp": now,
                "value": str(value),
            }
            for name, value in self.values.items()
        ]
        return {"kind": "MetricValueList", "apiVersion": VERSION, "metadata": {}, "items": items}


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, adapter: Adapter, *arguments: Any) -> None:
        self._adapter = adapter
        super().__init__(*arguments)

    def do_GET(self) -> None:
        body = self._adapter.answer(self.path)
        payload = json.dumps(body or {}).encode()
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def running(cluster: Cluster) -> Iterator[Adapter]:
    """Run an adapter that the API server knows, for a cluster of level 1 or 2."""
    adapter = Adapter(cluster)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, adapter))
    pki = cluster.plan.pki
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, name="adapter")
    thread.start()
    try:
        _register(cluster, server.server_port)
        yield adapter
    finally:
        cluster.api.delete(f"{API_SERVICES}/v1beta2.{GROUP}")
        cluster.api.delete(f"{SERVICES}/{NAME}")
        server.shutdown()
        thread.join()
        server.server_close()


def _register(cluster: Cluster, port: int) -> None:
    name = {"name": NAME}
    leads = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}
    cluster.api.post(SERVICES, json={"metadata": name, "spec": leads}).raise_for_status()
    service = name | {"namespace": "default", "port": port}
    spec = {"group": GROUP, "version": "v1beta2", "insecureSkipTLSVerify": True}
    spec |= {"groupPriorityMinimum": 100, "versionPriority": 100, "service": service}
    body = {"metadata": {"name": f"v1beta2.{GROUP}"}, "spec": spec}
    cluster.api.post(API_SERVICES, json=body).raise_for_status()
