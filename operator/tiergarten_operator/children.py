"""Brings the children of one tier to what they must be: applies, scales, prunes. No decision.

What must exist comes from `desired`, whose an object is from `ownership`, what differs from
`drift`. Every step may be the last one before the process is killed: the next pass goes on.
"""

from dataclasses import dataclass, field
from typing import Final

from tiergarten_api import labels
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator import drift, ownership
from tiergarten_operator.cluster import Cluster
from tiergarten_operator.errors import Rejected
from tiergarten_operator.facts import (
    DEPLOYMENT,
    JOB,
    KINDS,
    Desired,
    Facts,
    Finding,
    Manifest,
    Ref,
    ref,
)
from tiergarten_operator.ownership import Whose

IMAGE_FIELD: Final = ".image."


@dataclass
class Children:
    """One pass over a tier's children.

    Attributes:
        cluster: The cluster.
        facts: What is known of the tier.
        wanted: Replicas that its Deployment must have; None if its autoscaler decides.
        findings: Why children are not as they must be.
        waits: Whether something must go first, so that another pass is due soon.
    """

    cluster: Cluster
    facts: Facts
    wanted: int | None
    findings: list[Finding] = field(default_factory=list)
    waits: bool = False

    @property
    def _tier(self) -> ModelTier:
        return self.facts.tier

    @property
    def _namespace(self) -> str:
        return self._tier.metadata.namespace or ""

    async def bring_to(self, desired: Desired) -> None:
        """Apply what must exist and delete what must not.

        Raises:
            Conflict: An object was replaced meanwhile.
            Unreachable: The API server did not answer.
        """
        for manifest in desired.children:
            await self._bring(manifest)
        await self._prune({ref(it) for it in desired.children} | desired.kept)

    async def _bring(self, manifest: Manifest) -> None:
        try:
            live = await self._live(ref(manifest))
            if live is not None and (live := await self._own(live)) is None:
                return
            if manifest["kind"] == DEPLOYMENT.name:
                await self._deploy(manifest, live)
            elif live is None or _must_write(manifest, live):
                await self._apply(manifest, live)
        except Rejected as error:
            self.findings.append(_refused(ref(manifest), error))

    async def _live(self, child: Ref) -> Manifest | None:
        """Return a child as it is; what the watch does not show may be somebody else's."""
        known = self.facts.live.get(child)
        if known is not None:
            return known
        return await self.cluster.get(KINDS[child.kind], self._namespace, child.name)

    async def _own(self, live: Manifest) -> Manifest | None:
        """Return an object if it is ours to change."""
        if "deletionTimestamp" in live["metadata"]:
            self.waits = True
            return None
        match ownership.of(live, self._tier):
            case Whose.OURS:
                return live
            case Whose.STALE:  # the garbage collector would do the same, later
                await self.cluster.delete(ref(live), self._namespace, live["metadata"]["uid"])
                self.waits = True
            case Whose.FOREIGN:
                said = f"{ref(live)}: is there already and is not this tier's"
                cure = "delete it, or give the tier another name"
                self.findings.append(Finding("NameConflict", f"{said}; {cure}"))
        return None

    async def _deploy(self, manifest: Manifest, live: Manifest | None) -> None:
        """Apply a Deployment, and its replicas by their own manager.

        The replicas are in the main apply only when it makes the Deployment. Before an apply
        leaves them out, the other manager must have them: a field that nobody has goes back to 1.
        """
        if live is None:
            first = self.wanted
            if first is None and self._tier.spec.autoscaling is not None:
                first = self._tier.spec.autoscaling.min_replicas
            spec = {"replicas": first, **manifest["spec"]}
            live = await self._apply({**manifest, "spec": spec}, None)
        handed_over = ownership.sets_replicas(live, labels.SCALE_MANAGER)
        there = live["spec"].get("replicas", 1)
        wanted = there if self.wanted is None else self.wanted
        if wanted != there or not (handed_over or self._scales_itself(live)):
            await self.cluster.apply(self._scale(live, wanted), manager=labels.SCALE_MANAGER)
        if _must_write(manifest, live):
            await self._apply(manifest, live)

    async def _apply(self, manifest: Manifest, live: Manifest | None) -> Manifest:
        """Apply a manifest and return what the server made of it.

        What somebody else put into a list can stand in the way, such as a second port of the same
        name: then the lists are replaced first.
        """
        try:
            got = await self.cluster.apply(manifest)
        except Rejected:
            if live is None or not any(drift.differences(manifest.get("spec"), live.get("spec"))):
                raise
            child = ref(manifest)
            change = {"spec": manifest["spec"]}
            await self.cluster.merge(KINDS[child.kind], self._namespace, child.name, change)
            got = await self.cluster.apply(manifest)
        self._compare(manifest, got)
        return got

    def _scales_itself(self, live: Manifest) -> bool:
        """Return whether an autoscaler has taken the replicas over from us."""
        return self.wanted is None and not ownership.sets_replicas(live, labels.OPERATOR)

    def _scale(self, live: Manifest, replicas: int) -> Manifest:
        metadata = {"name": live["metadata"]["name"], "namespace": self._namespace}
        # With the uid, so that a Deployment that was deleted meanwhile is not made of this alone.
        metadata["uid"] = live["metadata"]["uid"]
        head = {"apiVersion": DEPLOYMENT.api_version, "kind": DEPLOYMENT.name}
        return head | {"metadata": metadata, "spec": {"replicas": replicas}}

    def _compare(self, manifest: Manifest, got: Manifest) -> None:
        """Say so if the server dropped the image volume, as older ones do without a word."""
        if manifest["kind"] != DEPLOYMENT.name:
            return
        if any(IMAGE_FIELD in f"{path}." for path in _volume_differences(manifest, got)):
            cure = "use a newer one, or another source"
            said = "spec.model.source.image: this Kubernetes does not mount images as volumes"
            self.findings.append(Finding("ImageVolumesUnsupported", f"{said}; {cure}"))

    async def _prune(self, right: set[Ref]) -> None:
        """Delete the tier's children that must not exist."""
        for child, live in self.facts.live.items():
            going = "deletionTimestamp" in live["metadata"]
            if child in right or going or ownership.of(live, self._tier) is not Whose.OURS:
                continue
            try:
                await self.cluster.delete(child, self._namespace, live["metadata"]["uid"])
            except Rejected as error:
                self.findings.append(_refused(child, error))


def _must_write(manifest: Manifest, live: Manifest) -> bool:
    """Return whether a live object is not what was built, or not what was applied last."""
    if manifest["kind"] == JOB.name:  # immutable; another one has another name
        return False
    notes = live["metadata"].get("annotations") or {}
    stamp = manifest["metadata"]["annotations"][labels.OBJECT_HASH]
    return notes.get(labels.OBJECT_HASH) != stamp or any(drift.differences(manifest, live))


def _volume_differences(manifest: Manifest, got: Manifest) -> list[str]:
    wanted = manifest["spec"]["template"]["spec"]["volumes"]
    found = got["spec"]["template"]["spec"].get("volumes")
    return list(drift.differences(wanted, found))


def _refused(child: Ref, error: Rejected) -> Finding:
    if "exceeded quota" in error.message:
        cure = "raise the quota, or lower the tier's resources"
        return Finding("QuotaExceeded", f"{child}: {error.message}; {cure}")
    return Finding("ChildRejected", f"{child}: {error.message}")
