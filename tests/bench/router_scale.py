"""The router with many tiers and endpoints: how long until it knows them, and what a change costs.

    python tests/bench/router_scale.py [--tiers 2000] [--endpoints 5] [--churn 60] [--json FILE]

A test Kubernetes of level 1 runs on the same cores, and a few servers answer the health checks of
all endpoints. Then pods become ready and unready at random for so many seconds, to see whether
memory grows.
"""

import argparse
import asyncio
import contextlib
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "cluster"), str(HERE.parent / "faults")]

import measuring  # noqa: E402 -- the path is set above
import slices  # noqa: E402 -- as above
from following import own_address  # noqa: E402 -- as above
from kit import api, crds, namespaces  # noqa: E402 -- as above
from kit.cluster import Cluster  # noqa: E402 -- as above
from measuring import ask, cpu_seconds, mib, on_a_cluster, seconds_until  # noqa: E402 -- as above
from routing import free_port  # noqa: E402 -- as above

TIERS = "/apis/tiergarten.dev/v1alpha1/namespaces/{}/modeltiers"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
CHANGES = 9


@dataclass(frozen=True)
class Figures:
    """What was measured.

    Attributes:
        tiers: How many there were.
        endpoints: Of all tiers.
        start_seconds: From the router's start until it serves all of them.
        change_seconds: From an endpoint that is not ready to a router that knows it, the median.
        mib: The router's resident memory then.
        changes: How many random changes were made after that.
        cpu_ms: Processor time of the router for each of them.
        mib_after: Its memory after them.
    """

    tiers: int
    endpoints: int
    start_seconds: float
    change_seconds: float
    mib: float
    changes: int
    cpu_ms: float
    mib_after: float


@contextlib.contextmanager
def healthy(count: int) -> Iterator[list[int]]:
    """Run servers that say yes to everything; yield their ports."""
    loop, ports = asyncio.new_event_loop(), [free_port() for _ in range(count)]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(PAGE)
        writer.close()

    for port in ports:
        loop.run_until_complete(asyncio.start_server(answer, own_address(), port))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield ports
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def piece(tier: str, index: int, port: int, conditions: slices.Manifest) -> slices.Manifest:
    """Return the slice of one endpoint of a tier; at one address, each has a port of its own."""
    name, ports = f"{tier}-{index}", [slices.PORT | {"port": port}]
    return slices.piece(name, slices.pod(own_address(), name, conditions), tier=tier, ports=ports)


def make(cluster: Cluster, namespace: str, tiers: int, ports: list[int]) -> None:
    """Make tiers and their slices."""

    def one(number: int) -> None:
        name = f"tier-{number}"
        tier = slices.tier(name)
        cluster.api.post(TIERS.format(namespace), json=tier).raise_for_status()
        for index, port in enumerate(ports):
            body = piece(name, index, port, slices.READY)
            cluster.api.post(SLICES.format(namespace), json=body).raise_for_status()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(tiers)))


@contextlib.contextmanager
def router(cluster: Cluster, namespace: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run the router; yield its process and its URL."""
    port = free_port()
    env = os.environ | {"TIERGARTEN_LOG_LEVEL": "error", "TIERGARTEN_OPS_PORT": "0"}
    command = [str(Path(sys.executable).with_name("tiergarten")), "serve", "--port", str(port)]
    where = ["--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig)]
    process = subprocess.Popen([*command, *where], env=env)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def known(url: str, number: int) -> int:
    """Return how many endpoints of a tier the router serves."""
    answer = ask(f"{url}/v1/tiers/tier-{number}")
    if answer is None or not answer.is_success:
        return 0
    return sum(it["state"] == "ready" for it in answer.json()["replicas"])


def change(
    cluster: Cluster, namespace: str, number: int, index: int, conditions: slices.Manifest
) -> None:
    """Let an endpoint become ready, or not ready."""
    name = f"tier-{number}"
    path = f"{SLICES.format(namespace)}/{name}-{index}"
    endpoints = piece(name, index, 0, conditions)["endpoints"]
    api.merge(cluster.api, path, {"endpoints": endpoints}).raise_for_status()


def churn(cluster: Cluster, namespace: str, tiers: int, endpoints: int, seconds: float) -> int:
    """Change endpoints at random for so many seconds, and return how many changes that were."""

    def changed() -> None:
        number, index = random.randrange(tiers), random.randrange(endpoints)  # noqa: S311 -- no secret
        conditions = random.choice([slices.READY, slices.LOADING])  # noqa: S311 -- as above
        change(cluster, namespace, number, index, conditions)

    return measuring.churn(seconds, changed)


def measure(cluster: Cluster, tiers: int, endpoints: int, churn_seconds: float) -> Figures:
    """Run the whole measurement on a cluster."""
    crds.install(cluster.api)
    namespace = namespaces.make(cluster)
    with healthy(endpoints) as ports:
        make(cluster, namespace, tiers, ports)
        began = time.monotonic()
        with router(cluster, namespace) as (process, url):
            seconds_until("the last tier", lambda: known(url, tiers - 1) == endpoints)
            start_seconds = time.monotonic() - began
            taken = []
            for number in range(min(tiers, CHANGES)):
                changed = time.monotonic()
                change(cluster, namespace, number, 0, slices.LOADING)
                while known(url, number) == endpoints:
                    time.sleep(0.01)
                taken.append(time.monotonic() - changed)
            before, used = mib(process), cpu_seconds(process.pid)
            changes = churn(cluster, namespace, tiers, endpoints, churn_seconds)
            used = cpu_seconds(process.pid) - used
            return Figures(
                tiers=tiers,
                endpoints=tiers * endpoints,
                start_seconds=start_seconds,
                change_seconds=statistics.median(taken),
                mib=before,
                changes=changes,
                cpu_ms=1000 * used / max(changes, 1),
                mib_after=mib(process),
            )


def show(found: Figures) -> None:
    """Print the figures."""
    rows = (
        ("from its start until all are served", f"{found.start_seconds:.1f} s", "<= 60 s"),
        ("one endpoint not ready until it is left out", f"{found.change_seconds:.2f} s", "<= 1 s"),
        ("resident memory", f"{found.mib:.0f} MiB", ""),
        (f"and after {found.changes:,} changes", f"{found.mib_after:.0f} MiB", ""),
        ("processor time of a change", f"{found.cpu_ms:.0f} ms", ""),
    )
    title = f"The router with {found.tiers:,} tiers and {found.endpoints:,} endpoints"
    measuring.show(title, rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiers", type=int, default=2000)
    parser.add_argument("--endpoints", type=int, default=5, help="of each tier")
    parser.add_argument("--churn", type=float, default=0, help="seconds of changes at random")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    found = on_a_cluster(
        "bench-router",
        lambda cluster: measure(cluster, options.tiers, options.endpoints, options.churn),
        options.json,
    )
    show(found)


if __name__ == "__main__":
    main()
