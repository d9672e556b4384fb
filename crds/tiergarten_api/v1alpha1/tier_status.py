"""What the operator reports of a ModelTier."""

from typing import Annotated

from pydantic import AfterValidator, Field

from tiergarten_api.v1alpha1.base import Int32, Int64, ListOf, Schema
from tiergarten_api.v1alpha1.meta import Conditions


def _fits(count: int) -> int:
    # The API server holds a number to its format, and no other bound does it here.
    if not -(2**31) <= count < 2**31:
        raise ValueError("must fit 32 bits")
    return count


Count = Annotated[Int32, AfterValidator(_fits)]


class FileStatus(Schema):
    """One file of the model."""

    name: str = Field(description="Path in the source.")
    sha256: str | None = Field(None, description="Checksum of the file as it was verified.")
    size_bytes: Int64 | None = Field(None, description="Size of the whole file, in bytes.")
    fetched_bytes: Int64 | None = Field(None, description="Bytes that are here already.")


class ModelStatus(Schema):
    """What is known of the model, from its source and its GGUF header."""

    resolved_revision: str | None = Field(
        None, description="The commit that spec.model.source.huggingFace.revision resolved to."
    )
    architecture: str | None = Field(None, description="Architecture by the GGUF header.")
    quantization: str | None = Field(
        None, description="Quantization by the GGUF header, such as Q4_K_M."
    )
    size_bytes: Int64 | None = Field(None, description="Size of all files, in bytes.")
    parameters: Int64 | None = Field(None, description="Number of the model's weights.")
    trained_context_length: Int64 | None = Field(
        None, description="Context window that the model was trained for, in tokens."
    )
    files: Annotated[tuple[FileStatus, ...], ListOf("map", "name")] | None = Field(
        None, description="The files and how far each is fetched."
    )


class CacheStatus(Schema):
    """Where the fetched files are."""

    claim_name: str | None = Field(None, description="The claim that holds them.")
    path: str | None = Field(None, description="Folder in the claim.")


class MemoryStatus(Schema):
    """Memory that one replica needs, estimated from the GGUF header."""

    weights_bytes: Int64 | None = Field(None, description="Weights, in bytes.")
    kv_cache_bytes: Int64 | None = Field(
        None, description="KV cache of the whole contextLength, in bytes."
    )
    compute_bytes: Int64 | None = Field(None, description="Compute buffers, in bytes.")
    request: str | None = Field(
        None, description="Memory request of a pod: all of it with the prompt cache, as a quantity."
    )


class EndpointStatus(Schema):
    """Where the tier is served inside the cluster."""

    service: str | None = Field(None, description="Name of the headless Service.")
    port: int | None = Field(None, description="Port of llama-server.")
    url: str | None = Field(None, description="Base URL of its OpenAI-compatible API.")


class ModelTierStatus(Schema):
    """What the operator saw last."""

    observed_generation: Int64 | None = Field(
        None, description="The metadata.generation that this status is about."
    )
    replicas: Count | None = Field(None, description="Replicas that exist.")
    ready_replicas: Count | None = Field(None, description="Replicas that answer.")
    updated_replicas: Count | None = Field(
        None, description="Replicas that run the newest pod template."
    )
    selector: str | None = Field(
        None, description="Label selector of the pods, for the scale subresource."
    )
    revision: str | None = Field(
        None, description="Hash of the pod template that updatedReplicas counts."
    )
    model: ModelStatus | None = Field(None, description="What is known of the model.")
    cache: CacheStatus | None = Field(None, description="Where the fetched files are.")
    memory: MemoryStatus | None = Field(
        None, description="Memory that one replica needs, estimated from the GGUF header."
    )
    endpoint: EndpointStatus | None = Field(
        None, description="Where the tier is served inside the cluster."
    )
    conditions: Conditions | None = Field(
        None,
        description="Accepted, ModelAvailable, Available, Progressing, and Ready as their summary.",
    )
