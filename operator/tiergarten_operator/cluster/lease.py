"""Lets one operator of several work: the others wait for its lease to run out.

A lease is no fence, and need not be one: all writes are applied whole, and Jobs are named by what
they fetch, so a moment with two leaders does no harm. Still each write asks `check` first, so that
a leader that was frozen and wakes says nothing that it believed before. Times of other machines are
not trusted: a lease has run out when it was not renewed for its whole length on our own clock.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tiergarten_operator.cluster import api
from tiergarten_operator.cluster.api import Api, Request
from tiergarten_operator.errors import LeaseLost, NotThere, OperatorError
from tiergarten_operator.facts import Kind, Manifest

LEASES: Final = Kind("coordination.k8s.io/v1", "Lease", "leases")


@dataclass
class Lease:
    """A claim on being the one that works.

    Attributes:
        server: Sends requests.
        namespace: Where the Lease is.
        name: Its name.
        me: Who we are; no two operators may have the same.
        clock: Seconds of a monotonic clock.
        sleep: Waits for seconds.
        length_seconds: For how long a lease that is not renewed holds.
        deadline_seconds: Without a renewal for so long, we no longer count ourselves as leader.
        retry_seconds: Time between two tries.
    """

    server: Api
    namespace: str
    name: str
    me: str
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    length_seconds: int = 15
    deadline_seconds: float = 10.0
    retry_seconds: float = 2.0
    _seen: tuple[str, float] = field(default=("", 0.0))
    _renewed_at: float = float("-inf")

    async def acquire(self) -> None:
        """Wait until we lead."""
        while not await self._tried():
            await self.sleep(self.retry_seconds)

    async def hold(self) -> None:
        """Renew for ever.

        Raises:
            LeaseLost: Somebody else leads, or the lease could not be renewed in time.
        """
        while True:
            await self.sleep(self.retry_seconds)
            if not await self._tried():
                self.check()

    def check(self) -> None:
        """Do nothing if we lead.

        Raises:
            LeaseLost: The lease was not renewed in time.
        """
        if self.clock() - self._renewed_at > self.deadline_seconds:
            raise LeaseLost(f"lease {self.name}: was not renewed for {self.deadline_seconds:g} s")

    async def release(self) -> None:
        """Give the lease back, so that another operator need not wait."""
        try:
            found = await self._get()
            if found is not None and found["spec"].get("holderIdentity") == self.me:
                spec = found["spec"] | {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._put(found | {"spec": spec})
        except OperatorError:
            return  # it runs out by itself

    async def _tried(self) -> bool:
        """Take or renew the lease if we may, and return whether we did."""
        began = self.clock()
        try:
            found = await self._get()
            if found is None:
                await self._make()
            elif self._may_take(found):
                await self._put(self._taken(found))
            else:
                return False
        except (OperatorError, TimeoutError):
            return False
        self._renewed_at = began
        return True

    def _may_take(self, found: Manifest) -> bool:
        spec = found["spec"]
        version = str(found["metadata"]["resourceVersion"])
        if version != self._seen[0]:
            self._seen = (version, self.clock())
        holder = spec.get("holderIdentity", "")
        length = spec.get("leaseDurationSeconds", self.length_seconds)
        return holder in ("", self.me) or self.clock() - self._seen[1] > length

    def _taken(self, found: Manifest) -> Manifest:
        spec = dict(found["spec"])
        if spec.get("holderIdentity") != self.me:
            spec["leaseTransitions"] = spec.get("leaseTransitions", 0) + 1
            spec["acquireTime"] = _now()
        return found | {"spec": spec | self._renewed()}

    def _renewed(self) -> dict[str, Any]:
        return {
            "holderIdentity": self.me,
            "leaseDurationSeconds": self.length_seconds,
            "renewTime": _now(),
        }

    async def _get(self) -> Manifest | None:
        where = api.path(LEASES, self.namespace, self.name)
        try:
            return await self._send(Request("get the lease", "GET", where))
        except NotThere:
            return None

    async def _make(self) -> None:
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.name,
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": self._renewed() | {"acquireTime": _now(), "leaseTransitions": 0},
        }
        await self._send(
            Request("make the lease", "POST", api.path(LEASES, self.namespace), {}, body)
        )

    async def _put(self, body: Manifest) -> None:
        # With the version that was read, so that of two that try one fails.
        where = api.path(LEASES, self.namespace, self.name)
        await self._send(Request("renew the lease", "PUT", where, {}, body))

    async def _send(self, request: Request) -> Manifest:
        return await asyncio.wait_for(self.server.send(request), self.deadline_seconds / 2)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
