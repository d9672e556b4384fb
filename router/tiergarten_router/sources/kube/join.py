"""From EndpointSlices to the endpoints of a tier. Pure; called by `source`.

A pod may stand in several slices: in one for each address family, and in two of the same family for
a moment while the controller moves it. The most cautious of them counts, so that a pod that ends is
not asked because another slice has not heard of it yet.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tiergarten_api import labels
from tiergarten_router.core.snapshot import Endpoint, ReplicaState
from tiergarten_router.sources.kube.objects import SERVICE, Conditions, Key, Slice, SliceEndpoint

FAMILIES: Final = {"IPv4": 4, "IPv6": 6}  # FQDN is for Services that are not ours
_UNKNOWN: Final = Conditions()
_ORDER: Final = (ReplicaState.READY, ReplicaState.DRAINING, ReplicaState.LOADING)
_MESSAGES: Final = {
    ReplicaState.READY: "",
    ReplicaState.DRAINING: "the pod is about to end",
    ReplicaState.LOADING: "the pod is not ready",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A pod as one slice has it.

    Attributes:
        pod: What tells the pod from any other: its uid, or as much as the slice says.
        name: The pod's name, or another one without an address in it.
        family: 4 or 6.
        url: Base URL.
        ready: Whether it takes queries.
        serving: Whether it would, if it were not about to end.
        terminating: Whether it is about to end.
    """

    pod: str
    name: str
    family: int
    url: str
    ready: bool
    serving: bool
    terminating: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """What one slice says.

    Attributes:
        service: Namespace and name of the Service, which is named like its tier.
        rows: Its pods; none if the slice has no port of llama-server's.
    """

    service: Key
    rows: tuple[Row, ...]


def rows(found: Slice) -> Rows:
    """Return the pods of a slice, those without a usable address left out."""
    service = (found.metadata.namespace, found.metadata.labels.get(SERVICE, ""))
    family, port = FAMILIES.get(found.address_type), _port(found)
    if family is None or port is None:
        return Rows(service, ())
    every = (_row(entry, family, port) for entry in found.endpoints or ())
    return Rows(service, tuple(row for row in every if row is not None))


def endpoints(slices: Iterable[Rows]) -> tuple[Endpoint, ...]:
    """Return the endpoints of a tier, sorted by id.

    Args:
        slices: All slices of its Service.

    Returns:
        One endpoint a pod; no two have one id or one address. A pod that has stopped serving is
        left out.
    """
    pods: dict[str, list[Row]] = {}
    for one in slices:
        for row in one.rows:
            pods.setdefault(row.pod, []).append(row)
    return tuple(sorted(_distinct(map(_endpoint, pods.values())), key=_by_id))


def _port(found: Slice) -> int | None:
    """Return llama-server's port, by its name; None if the slice has none."""
    ports = (port for port in found.ports or () if port.name == labels.PORT_NAME)
    return next((port.port for port in ports if (port.protocol or "TCP") == "TCP"), None)


def _row(entry: SliceEndpoint, family: int, port: int) -> Row | None:
    try:
        # All addresses of an entry are the same pod's; the API says to use the first one.
        address = ipaddress.ip_address((entry.addresses or [""])[0])
    except ValueError:
        return None
    if address.version != family:
        return None
    url = f"http://{address}:{port}" if family == FAMILIES["IPv4"] else f"http://[{address}]:{port}"
    pod, name = _named(entry, url)
    said = entry.conditions or _UNKNOWN
    ready = said.ready is not False
    serving = ready if said.serving is None else said.serving
    return Row(pod, name, family, url, ready, serving, bool(said.terminating))


def _named(entry: SliceEndpoint, url: str) -> tuple[str, str]:
    """Return what tells a pod from any other, and its name; neither shows an address."""
    reference = entry.target_ref
    if reference is not None and reference.name:
        return reference.uid or reference.name, reference.name
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    name = entry.hostname or f"endpoint-{digest}"
    return name, name


def _endpoint(pod: list[Row]) -> Endpoint | None:
    """Return a pod as one endpoint; None if it has ended."""
    first = pod[0] if len(pod) == 1 else min(pod, key=_by_family)
    if any(row.terminating for row in pod):
        if not all(row.serving for row in pod):
            return None
        state = ReplicaState.DRAINING
    else:
        state = ReplicaState.READY if all(row.ready for row in pod) else ReplicaState.LOADING
    return Endpoint(first.name, first.url, state, _MESSAGES[state])


def _distinct(found: Iterable[Endpoint | None]) -> Iterator[Endpoint]:
    """Yield endpoints with an id and an address of their own; of several the best.

    An address may be given to a new pod before the slices have forgotten the old one.
    """
    ids: set[str] = set()
    urls: set[str] = set()
    ranked: dict[ReplicaState, list[Endpoint]] = {state: [] for state in _ORDER}
    for endpoint in found:
        if endpoint is not None:
            ranked[endpoint.state].append(endpoint)
    for state in _ORDER:
        for endpoint in sorted(ranked[state], key=_by_id):
            if endpoint.id not in ids and endpoint.url not in urls:
                ids.add(endpoint.id)
                urls.add(endpoint.url)
                yield endpoint


def _by_family(row: Row) -> tuple[int, str]:
    return row.family, row.url  # IPv4 first: llama-server listens there in any case


def _by_id(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.id, endpoint.url
