"""An operator that a test runs against a real API server, and the test's view of that server."""

import asyncio
import contextlib
import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from kit import api
from kit.processes import wait_for
from tiergarten_fetch import outcomes
from tiergarten_operator.app import Operator, Options
from tiergarten_operator.cluster import connect
from tiergarten_operator.facts import CHILDREN, KINDS, SECRET, Kind
from tiergarten_operator.metrics import Metrics
from tiergarten_operator.settings import Settings

Manifest = dict[str, Any]
SECONDS = 40
SHA256 = "a" * 64
VOLUME_TIER: Manifest = {
    "apiVersion": "tiergarten.dev/v1alpha1",
    "kind": "ModelTier",
    "metadata": {"name": "q4"},
    "spec": {
        "model": {
            "name": "small-q4",
            "source": {"volume": {"claimName": "models"}},
            "files": [{"name": "small.gguf"}],
        }
    },
}
HUB_TIER: Manifest = VOLUME_TIER | {
    "spec": {
        "model": {
            "name": "small-q4",
            "source": {"huggingFace": {"repo": "org/small"}},
            "files": [{"name": "small.gguf", "sha256": SHA256}],
        }
    }
}
CLAIM: Manifest = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "models"},
    "spec": {
        "accessModes": ["ReadOnlyMany"],
        "resources": {"requests": {"storage": "1Gi"}},
    },
}
SETTINGS = Settings(http_port=0, missing_seconds=0.2, resync_seconds=600)


class Killed(BaseException):
    """Ends an operator between two writes, as a kill would: nothing catches it."""


class Running:
    """An operator in a thread of its own, as a process of its own would be, but measured."""

    def __init__(
        self, kubeconfig: Path, options: Options, settings: Settings, kill_after: int | None
    ) -> None:
        self.writes: list[str] = []
        self.killed = threading.Event()
        self.ready = threading.Event()
        self.running = threading.Event()
        self.operator: Operator | None = None
        self._kill_after, self._options, self._settings = kill_after, options, settings
        self._kubeconfig = kubeconfig
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._main, name="operator")

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it has seen what is there."""
        self._thread.start()
        event = self.ready if wait else self.running
        assert event.wait(30) or self.killed.is_set(), self._error
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        if self._loop is not None and self.operator is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it ended meanwhile
                self._loop.call_soon_threadsafe(self.operator.stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function in the operator's thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(function, *arguments)

    def _wrote(self, what: str) -> None:
        if self.killed.is_set():
            return
        self.writes.append(what)
        if self._kill_after is not None and len(self.writes) >= self._kill_after:
            self.killed.set()
            raise Killed

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except (Killed, BaseExceptionGroup) as error:
            if not self.killed.is_set():
                self._error = error
        except BaseException as error:  # noqa: BLE001 - told by stop()
            self._error = error
        finally:
            self.ready.set()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with connect(self._kubeconfig, self._settings.request_seconds) as server:
            self.operator = Operator(
                server,
                self._options,
                self._settings,
                Metrics(CollectorRegistry()),
                wrote=self._wrote,
            )
            self.running.set()
            watcher = asyncio.create_task(self._watch())
            try:
                await self.operator.run()
            finally:
                watcher.cancel()

    async def _watch(self) -> None:
        assert self.operator is not None
        await self.operator.synced.wait()
        self.ready.set()


class World:
    """A namespace of a real API server, as a test sees and changes it."""

    seconds = SECONDS  # the longest wait

    def __init__(self, server: httpx.Client, namespace: str) -> None:
        self.server, self.namespace = server, namespace

    def path(self, kind: Kind, name: str = "") -> str:
        root = "/api/v1" if kind.api_version == "v1" else f"/apis/{kind.api_version}"
        return f"{root}/namespaces/{self.namespace}/{kind.plural}" + (f"/{name}" if name else "")

    def make(self, manifest: Manifest) -> Manifest:
        """Make an object, and its status if it has one."""
        kind = KINDS[manifest["kind"]]
        answer = self.server.post(self.path(kind), json=manifest)
        assert answer.is_success, answer.text
        if "status" in manifest:
            return self.set_status(kind, manifest["metadata"]["name"], manifest["status"])
        return dict(answer.json())

    def tier(self, name: str, tier: Manifest = VOLUME_TIER, **spec: Any) -> Manifest:
        """Make a tier with changes of its spec."""
        body = copy.deepcopy(tier)
        body["metadata"]["name"] = name
        body["spec"] |= spec
        return self.make(body)

    def models(self) -> None:
        """Make the claim that `VOLUME_TIER` reads its model from."""
        self.make(CLAIM)

    def get(self, kind: Kind, name: str) -> Manifest | None:
        answer = self.server.get(self.path(kind, name))
        return None if answer.status_code == 404 else dict(answer.raise_for_status().json())

    def there(self, kind: Kind, name: str) -> Manifest:
        found = self.get(kind, name)
        assert found is not None, f"{kind.name} {name} is not there"
        return found

    def all(self, kind: Kind) -> list[Manifest]:
        return list(self.server.get(self.path(kind)).raise_for_status().json()["items"])

    def change(self, kind: Kind, name: str, change: Manifest, manager: str = "kubectl") -> None:
        answer = api.merge(self.server, self.path(kind, name), change, manager=manager)
        assert answer.is_success, answer.text

    def set_status(self, kind: Kind, name: str, status: Manifest) -> Manifest:
        path = f"{self.path(kind, name)}/status"
        answer = api.merge(self.server, path, {"status": status}, manager="kubelet")
        assert answer.is_success, answer.text
        return dict(answer.json())

    def delete(self, kind: Kind, name: str) -> None:
        body = {"propagationPolicy": "Background"}
        answer = self.server.request("DELETE", self.path(kind, name), json=body)
        assert answer.is_success, answer.text

    def children(self, tier: str) -> dict[str, Manifest]:
        """Return what is labelled as a tier's, by kind and name."""
        query = {"labelSelector": f"tiergarten.dev/tier={tier}"}
        found = {}
        for kind in (*CHILDREN, SECRET):
            answer = self.server.get(self.path(kind), params=query).raise_for_status()
            for it in answer.json()["items"]:
                found[f"{kind.name}/{it['metadata']['name']}"] = it | {"kind": kind.name}
        return found

    def conditions(self, tier: str, kind: Kind = KINDS["ModelTier"]) -> dict[str, Manifest]:
        found = self.there(kind, tier).get("status", {}).get("conditions", [])
        return {it["type"]: it for it in found}

    def reasons(self, tier: str) -> dict[str, str]:
        return {name: it["reason"] for name, it in self.conditions(tier).items()}

    def wait(self, what: str, check: Callable[[], object]) -> None:
        def holds() -> bool:
            try:
                return bool(check())
            except (KeyError, AssertionError):
                return False

        wait_for(what, holds, self.seconds)

    def wait_for_reason(self, tier: str, condition: str, reason: str) -> None:
        what = f"{condition} of {tier} to be {reason}"
        self.wait(what, lambda: self.reasons(tier)[condition] == reason)

    def wait_for_child(self, child: str, tier: str = "q4") -> Manifest:
        self.wait(child, lambda: child in self.children(tier))
        return self.children(tier)[child]

    def versions(self, tier: str) -> dict[str, str]:
        """Return the versions of a tier and all its children."""
        found = self.children(tier) | {"tier": self.there(KINDS["ModelTier"], tier)}
        return {name: it["metadata"]["resourceVersion"] for name, it in found.items()}

    def finish_job(self, job: str, outcome: outcomes.Outcome, *, well: bool = True) -> None:
        """Let a Job end as the kubelet and the controller manager would."""
        live = self.there(KINDS["Job"], job)
        template = live["spec"]["template"]
        owner: Manifest = {"apiVersion": "batch/v1", "kind": "Job", "name": job}
        owner |= {"uid": live["metadata"]["uid"], "controller": True}
        metadata = template["metadata"] | {"name": f"{job}-pod", "ownerReferences": [owner]}
        ended = {"exitCode": outcome.exit_code, "message": outcomes.line(outcome)}
        container: Manifest = {
            "name": "fetch",
            "state": {"terminated": ended},
            "image": "",
            "imageID": "",
        }
        container |= {"ready": False, "restartCount": 0}
        phase = "Succeeded" if well else "Failed"
        self.make(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {k: v for k, v in metadata.items() if k != "creationTimestamp"},
                "spec": template["spec"],
                "status": {"phase": phase, "containerStatuses": [container]},
            }
        )
        now = live["metadata"]["creationTimestamp"]
        kinds = ("SuccessCriteriaMet", "Complete") if well else ("FailureTarget", "Failed")
        condition = [{"type": kind, "status": "True", "reason": "Ended"} for kind in kinds]
        status: Manifest = {"startTime": now, "conditions": condition}
        status |= {"succeeded": 1, "completionTime": now} if well else {"failed": 1}
        self.set_status(KINDS["Job"], job, status)
