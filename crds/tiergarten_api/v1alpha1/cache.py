"""Where a tier's fetched files are kept."""

from typing import Annotated, Literal

from pydantic import Field

from tiergarten_api.v1alpha1.base import Rule, Schema
from tiergarten_api.v1alpha1.quantity import StorageSize


class CacheSpec(Schema):
    """Where fetched files are kept."""

    rules = (
        Rule(
            "self.mode == oldSelf.mode",
            "cache.mode is immutable; make a new tier",
            field_path=".mode",
        ),
        Rule(
            'has(self.claimName) == (self.mode == "Shared")',
            "mode Shared needs claimName, and no other mode takes it",
            check=lambda cache: (cache.claim_name is not None) == (cache.mode == "Shared"),
            cure="set both mode: Shared and claimName, or neither",
            field_path=".claimName",
        ),
    )

    mode: Literal["Shared", "PerTier", "Node", "Ephemeral", "Image"] = Field(
        "PerTier",
        description="Shared: one claim for many tiers (RWX, or one node). PerTier: a claim of this "
        "tier's own, so that it needs nobody else's storage. Node: a hostPath folder that a "
        "platform admin allows. Ephemeral: emptyDir, fetched by every pod. Image: OCI image "
        "volume.",
    )
    claim_name: str | None = Field(
        None, max_length=253, description="The claim of mode Shared; other modes take none."
    )
    storage_class_name: (
        Annotated[str, Rule("self == oldSelf", "storageClassName is immutable")] | None
    ) = Field(
        None,
        max_length=253,
        description="Storage class of mode PerTier's claim. Left out: the cluster's default.",
    )
    access_mode: Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"] = Field(
        "ReadWriteOnce",
        description="Access mode of PerTier's claim. ReadWriteOnce works with every storage class "
        "and keeps all replicas on one node.",
    )
    size: StorageSize | None = Field(
        None, description="Default is the model's size plus a fifth, rounded up to a GiB."
    )
    deletion_policy: Literal["Delete", "Retain"] = Field(
        "Delete",
        description="What happens to PerTier's claim when the tier is deleted. What was fetched "
        "can be fetched again, so it goes.",
    )
