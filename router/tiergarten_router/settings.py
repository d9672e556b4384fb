"""The router's settings, read once from `TIERGARTEN_*` at the start.

Every field says its unit and why its default is what it is; `docs/settings.md` lists them all.
"""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tiergarten_router.store import address

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class Settings(BaseSettings):
    """What an operator may change without touching a resource."""

    model_config = SettingsConfigDict(env_prefix="TIERGARTEN_", frozen=True, extra="ignore")

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged. A query is logged at debug."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="JSON lines, text for people, or text only on a terminal (auto)."
    )
    ops_port: int = Field(
        9090,
        ge=0,
        le=65_535,
        description="Port for probes and metrics alone, quick under any load; 0 for none, as in "
        "local mode.",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses and networks, parted by commas, whose X-Forwarded-For and "
        "X-Forwarded-Proto are believed.",
    )
    head_seconds: Seconds = Field(10, description="Longest time for a request's head to arrive.")
    body_bytes: int = Field(
        8 * 1024 * 1024, ge=1024, le=1 << 30, description="Largest request body, in bytes."
    )
    body_seconds: Seconds = Field(10, description="Longest time for a request body to arrive.")
    connect_seconds: Seconds = Field(
        0.5, description="Longest time to connect to an endpoint; a pod answers in milliseconds."
    )
    idle_seconds: Seconds = Field(
        30, description="Longest silence between two events of an answer that has begun."
    )
    client_stall_seconds: Seconds = Field(
        30, description="Longest time that a client may stop reading before it is cut off."
    )
    queue_per_slot: int = Field(
        32, ge=0, le=10_000, description="Queries that may wait for a tier, per slot it has."
    )
    queue_seconds: Seconds = Field(30, description="Longest wait for a slot, in seconds.")
    commit_seconds: Seconds = Field(
        5,
        description="Time without content after which a streaming client gets 200 and comments "
        "that keep its connection alive; a retry stays possible.",
    )
    affinity_header: str = Field(
        "X-OpenWebUI-Chat-Id",
        pattern="^[A-Za-z0-9-]*$",
        description="Request header that names a conversation. Without it the system prompt and "
        "the first user message do.",
    )
    affinity_conversations: int = Field(
        50_000,
        ge=0,
        le=10_000_000,
        description="Conversations whose replica is remembered, at some 200 bytes each.",
    )
    health_seconds: Seconds = Field(
        10, description="Time between two health checks of an endpoint that is well."
    )
    health_timeout_seconds: Seconds = Field(
        5, description="Longest time for one health check; a busy llama-server answers late."
    )
    stop_delay_seconds: float = Field(
        5,
        ge=0,
        le=300,
        description="How long a router that is to stop says so before it takes no more queries; "
        "0 in local mode.",
    )
    drain_seconds: Seconds = Field(
        30, description="Longest time that a stop waits for answers that are on their way."
    )
    llama_api_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="Key of the cluster's llama-servers; the operator must have the same. None: "
        "they are open inside the cluster.",
    )
    cache: bool = Field(default=True, description="Whether deterministic answers are cached.")
    cache_bytes: int = Field(
        64 * 1024 * 1024, ge=0, description="Memory for cached answers in this process, in bytes."
    )
    cache_seconds: Seconds = Field(3600, description="How long a cached answer is used.")
    cache_secret: SecretStr | None = Field(
        None,
        description="Secret of cache keys; give all replicas that share a Redis the same one. "
        "Without it a random one is made at the start.",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="Redis that replicas share: redis://, rediss://, unix://, redis+sentinel:// or "
        "redis+cluster://, as in docs/cache.md. None: memory.",
    )

    redis_seconds: Seconds = Field(
        0.05, description="Longest wait for a reply of Redis; one nearby answers in 1 ms."
    )

    events_origins: str = Field(
        "",
        description="Origins of web pages that may read events, separated by commas. "
        "Pages that the router serves itself on localhost always may.",
    )
    events_token: SecretStr | None = Field(
        None, description="What a subscriber to events must present. None: anybody may subscribe."
    )
    events_connections: int = Field(
        10_000, ge=0, le=1_000_000, description="Most subscribers to events at a time."
    )
    events_heartbeat_seconds: Seconds = Field(
        15,
        description="How often a subscriber hears where the stream of events stands; one that does "
        "not answer within two thirds of it is closed.",
    )
    resume_seconds: Seconds = Field(
        60,
        description="How long an answer that can be resumed is generated while nobody reads it.",
    )

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            address.parse(url.get_secret_value())
        return url
