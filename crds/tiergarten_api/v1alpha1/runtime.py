"""How a tier's llama-server runs."""

from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import Field

from tiergarten_api.v1alpha1.base import Int32, ListOf, Rule, Schema
from tiergarten_api.v1alpha1.meta import SecretKeyRef

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"]

UNQUANTISED: Final = ("f16", "bf16", "f32")
SLOT_TOKENS: Final = 256
"""Fewest tokens of context that a slot may have."""

OWNED_FLAGS: Final = (
    "--host", "--port", "-m", "--model", "-mu", "--model-url", "-hf", "--hf-repo", "-a", "--alias",
    "-c", "--ctx-size", "-np", "--parallel", "--metrics", "--slots", "--no-slots", "--api-key",
    "--api-key-file", "--tools", "--agent", "--mcp-servers-json", "--rpc",
)  # fmt: skip # one flag a line would fill the screen
"""Flags that extraArgs may not hold: fields of their own set them, or they open the server."""


class ImagePullSecret(Schema):
    """A Secret with credentials for an image registry."""

    name: str = Field(max_length=253, description="Name of the Secret, in the tier's namespace.")


class KvCache(Schema):
    """Number formats of the KV cache."""

    k: CacheType = Field(
        "f16",
        description="Format of the keys. q8_0 halves their memory at little loss; f16 is "
        "llama-server's own default.",
    )
    v: CacheType = Field(
        "f16",
        description="Format of the values. A quantised one needs flash attention; f16 is "
        "llama-server's own default.",
    )


class EnvSource(Schema):
    """Where an environment variable's value comes from."""

    secret_key_ref: SecretKeyRef | None = Field(None, description="A key of a Secret.")


class EnvVar(Schema):
    """An environment variable of llama-server."""

    name: str = Field(
        max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Name of the variable."
    )
    value: str | None = Field(
        None, max_length=4096, description="Its value as plain text; secrets go into valueFrom."
    )
    value_from: EnvSource | None = Field(None, description="Where its value comes from instead.")


def _owned(arguments: Iterable[str]) -> str:
    """Return the owned flags among arguments, without their values, which may be secret."""
    flags = (argument.partition("=")[0] for argument in arguments)
    return " ".join(flag for flag in flags if flag in OWNED_FLAGS)


class RuntimeSpec(Schema):
    """How llama-server runs."""

    rules = (
        Rule(
            f"self.contextLength / self.parallel >= {SLOT_TOKENS}",
            "contextLength is shared by the slots, and each needs at least 256 tokens",
            check=lambda runtime: runtime.context_length // runtime.parallel >= SLOT_TOKENS,
            cure="raise contextLength or lower parallel",
            field_path=".contextLength",
        ),
        Rule(
            '!has(self.kvCache) || self.kvCache.v in ["f16", "bf16", "f32"] || '
            'self.flashAttention != "off"',
            "a quantised V cache needs flash attention",
            check=lambda runtime: (
                runtime.kv_cache.v in UNQUANTISED or runtime.flash_attention != "off"
            ),
            cure='set flashAttention to auto or "on", or kvCache.v to f16',
            field_path=".flashAttention",
        ),
    )

    image: str | None = Field(
        None,
        min_length=1,
        max_length=512,
        description="Container image with llama-server. Left out: the one that the operator was "
        "tested with. Local mode uses the llama-server that is installed.",
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        None, description="When the kubelet pulls the image. Left out: Kubernetes decides by tag."
    )
    image_pull_secrets: (
        Annotated[tuple[ImagePullSecret, ...], Field(max_length=8), ListOf("map", "name")] | None
    ) = Field(None, description="Secrets with credentials for the image's registry.")
    context_length: Int32 = Field(
        8192,
        ge=256,
        le=10_485_760,
        description="Context window in tokens, shared by all slots: each holds contextLength / "
        "parallel. The default gives four slots room for a short conversation at little memory.",
    )
    parallel: Int32 = Field(
        4,
        ge=1,
        le=256,
        description="Slots: requests that one replica answers at the same time. More slots share "
        "the same context and the same speed.",
    )
    threads: Int32 | None = Field(
        None,
        ge=1,
        le=1024,
        description="CPU threads that compute. Left out: as many as the container's CPU limit or "
        "the machine has.",
    )
    gpu_layers: Int32 | None = Field(
        None,
        ge=0,
        le=10_000,
        description="Layers that are kept on the GPU. Left out: as many as fit when the resources "
        "name a GPU, else none.",
    )
    flash_attention: Literal["on", "off", "auto"] = Field(
        "auto",
        description='Flash attention: "on", "off" (both quoted: YAML reads the bare words as '
        "booleans) or auto, which lets llama-server decide.",
    )
    kv_cache: KvCache = Field(
        KvCache(),
        json_schema_extra={"default": {}},
        description="Number formats of the KV cache, which grows with contextLength.",
    )
    prompt_cache_mib: Int32 = Field(
        256,
        alias="promptCacheMiB",
        ge=0,
        le=1_048_576,
        description="Host memory for llama-server's prompt cache in MiB, counted in the pod's "
        "memory. Its own default is 8192, which gets small pods killed.",
    )
    load_mode: Literal["mmap", "none", "mlock", "dio"] = Field(
        "mmap",
        description="How weights get into memory: mmap (mapped, starts fastest), none (read, best "
        "on network volumes), mlock (mapped and pinned) or dio (read past the page cache).",
    )
    embeddings: bool = Field(
        default=False,
        description="Serve embeddings instead of chat; llama-server does one or the other.",
    )
    extra_args: (
        Annotated[
            tuple[Annotated[str, Field(min_length=1, max_length=512)], ...],
            Field(max_length=64),
            ListOf("atomic"),
            Rule(
                'self.all(a, !(a.split("=")[0] in ['
                + ", ".join(f'"{flag}"' for flag in OWNED_FLAGS)
                + "]))",
                "the operator owns that flag, or it is not allowed",
                check=lambda arguments: not _owned(arguments),
                cure="take it out; fields of spec.model and spec.runtime set these flags",
                blame=_owned,
            ),
        ]
        | None
    ) = Field(
        None,
        description="Further arguments of llama-server, such as --batch-size=512.",
    )
    extra_env: Annotated[tuple[EnvVar, ...], Field(max_length=64), ListOf("map", "name")] | None = (
        Field(None, description="Further environment variables of llama-server.")
    )
