"""The operator's settings, read once from `TIERGARTEN_*` at the start.

Every field says its unit and why its default is what it is. What the command line says as well
(namespaces, leader election, dry run) is not here.
"""

from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Labels = dict[str, str]


class Settings(BaseSettings):
    """What an administrator may change without touching a resource."""

    model_config = SettingsConfigDict(env_prefix="TIERGARTEN_", frozen=True, extra="ignore")

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged. A reconcile without a write is debug."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="JSON lines, text for people, or text only on a terminal (auto)."
    )
    server_image: str = Field(
        "tiergarten-llama:latest",
        description="Image of llama-server for tiers that name none; the chart pins it by digest.",
    )
    server_command: tuple[str, ...] = Field(
        (), description="The program in server_image, if llama-server is not its entry point."
    )
    fetch_image: str = Field(
        "tiergarten-fetch:latest", description="Image with tiergarten-fetch; the chart pins it."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        None, description="When these two images are pulled. None: Kubernetes decides by tag."
    )
    hub_endpoint: str = Field(
        "", description="Mirror of Hugging Face that fetches use. Empty: Hugging Face itself."
    )
    claim_size: str = Field(
        "32Gi",
        description="Size of a tier's claim while neither spec.cache.size nor the model's size is "
        "known. The default holds a model of 40 billion weights at Q4_K_M.",
    )
    node_cache_path: str = Field(
        "",
        description="Folder of the nodes that cache mode Node may use. Empty: the mode is refused, "
        "because hostPath breaks restricted pod security.",
    )
    llama_api_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="Key that every llama-server asks for; the router must have the same. None: "
        "the servers are open inside the cluster.",
    )
    network_policies: bool = Field(
        default=False,
        description="Whether each tier gets a NetworkPolicy that lets only the router in. Off: not "
        "every network enforces them, and some clusters have their own.",
    )
    router_labels: Labels = Field(
        {"app.kubernetes.io/name": "tiergarten", "app.kubernetes.io/component": "router"},
        description="Labels of the router's pods, for network_policies.",
    )
    workers: int = Field(
        8, ge=1, le=64, description="Tiers that are reconciled at a time; requests wait, not CPUs."
    )
    request_seconds: Seconds = Field(
        30, description="Longest wait for one answer of the API server, as kopf has it."
    )
    silence_seconds: Seconds = Field(
        75,
        description="A watch that shows nothing for so long is begun anew; the API server says "
        "something about once a minute.",
    )
    resync_seconds: Seconds = Field(
        600, description="Time after which a tier is looked at again although nothing happened."
    )
    missing_seconds: Seconds = Field(
        10,
        description="Time after which a missing Secret or claim is looked for again; they are not "
        "watched, so that the operator needs no right to list Secrets.",
    )
    progress_seconds: Seconds = Field(
        10, description="Time after which a running fetch is asked again how far it is."
    )
    pull_seconds: int = Field(
        300,
        ge=0,
        le=86_400,
        description="Time for images to be pulled and volumes to be mounted; on top of a tier's "
        "startupTimeoutSeconds it makes the deadline of a roll-out.",
    )
    audit_seconds: Seconds = Field(
        300, description="Time between two comparisons of what is known with what is there."
    )
    http_port: int = Field(
        8081, ge=0, le=65_535, description="Port of /healthz, /readyz and /metrics; 0: any free."
    )
