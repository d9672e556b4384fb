"""The one part that talks to the Kubernetes API: requests, what is known, events, the lease.

`reconcile` gets a `Cluster`; `handlers` fill its `Store`. No other module knows the client library.
"""

from tiergarten_operator.cluster.api import Api, Credentials, connect
from tiergarten_operator.cluster.audit import Audit
from tiergarten_operator.cluster.client import Cluster
from tiergarten_operator.cluster.lease import Lease
from tiergarten_operator.cluster.progress import Asking
from tiergarten_operator.cluster.store import Store

__all__ = ["Api", "Asking", "Audit", "Cluster", "Credentials", "Lease", "Store", "connect"]
