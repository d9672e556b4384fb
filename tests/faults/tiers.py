"""Tiers, facts and outcomes for tests of the operator's pure parts."""

from typing import Any

from hypothesis import strategies as st

from tiergarten_api.gguf import Header
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_fetch.outcomes import Fetched, Outcome
from tiergarten_operator.facts import VERIFIED, Facts, Fetch, Manifest

SHA256 = "a" * 64
UID = "11111111-2222-3333-4444-555555555555"
HUB: Manifest = {"huggingFace": {"repo": "org/small", "tokenSecretRef": {"name": "hub"}}}
HTTP: Manifest = {
    "http": {"url": "https://models.example/small", "headerSecretRef": {"name": "web"}}
}
VOLUME: Manifest = {"volume": {"claimName": "models", "subPath": "small"}}
IMAGE: Manifest = {"image": {"reference": f"models/small@sha256:{SHA256}"}}
SOURCES = {"hub": HUB, "http": HTTP, "volume": VOLUME, "image": IMAGE}


def tier(
    name: str = "q4",
    source: Manifest = HUB,
    *,
    annotations: dict[str, str] | None = None,
    status: Manifest | None = None,
    created: str = "2026-01-01T00:00:00Z",
    **spec: Any,
) -> ModelTier:
    """Return a tier as the API server has it."""
    file = {"name": "small.gguf", "sha256": SHA256}
    metadata = {
        "name": name,
        "namespace": "models",
        "uid": UID,
        "generation": 3,
        "resourceVersion": "7",
        "creationTimestamp": created,
        "annotations": annotations or {},
    }
    model = {"name": "small-q4", "source": source, "files": [file]}
    if source is IMAGE:
        spec = {"cache": {"mode": "Image"}} | spec
    body = {"metadata": metadata, "spec": {"model": model} | spec}
    return ModelTier.model_validate(body | ({"status": status} if status else {}))


HEADER = Header(
    version=3,
    architecture="llama",
    layers=2,
    heads_kv=(2, 2),
    key_length=64,
    value_length=64,
    context_length=4096,
    vocab_size=1000,
    embedding_length=256,
    sliding_window=0,
    sliding_layers=(False, False),
    quantization="Q4_K_M",
    tensor_bytes=7_000_000,
    parameters=3_500_000,
    split_count=1,
    split_no=0,
    file_bytes=7_100_000,
)
OUTCOME = Outcome(
    VERIFIED,
    revision="c" * 40,
    digest=SHA256,
    size=7_000_000,
    file_count=1,
    header=HEADER,
    files=(Fetched("small.gguf", "Model", 7_000_000, SHA256),),
)
FETCHED = Fetch(VERIFIED, "the model is there", OUTCOME)
FETCHING = Fetch("Fetching", "Job fetches the model")


def facts(of: ModelTier, **known: Any) -> Facts:
    """Return what is known of a tier, all that it names being there."""
    secrets = {name: frozenset({"token"}) for name in ("hub", "web")}
    claim = {"spec": {"accessModes": ["ReadWriteOnce"]}}
    there: dict[str, Any] = {"secrets": secrets, "claims": {"models": claim}}
    return Facts(of, **(there | known))


def names(limit: int = 52) -> st.SearchStrategy[str]:
    """Return names that a tier may have, up to the longest."""
    return st.from_regex(rf"[a-z][a-z0-9-]{{0,{limit - 2}}}[a-z0-9]", fullmatch=True)


def tiers() -> st.SearchStrategy[ModelTier]:
    """Return tiers of all kinds."""
    runtimes = st.fixed_dictionaries(
        {
            "contextLength": st.integers(8192, 65_536),
            "parallel": st.integers(1, 32),
            "loadMode": st.sampled_from(["mmap", "none", "mlock"]),
        }
    )
    resources = st.sampled_from(
        [
            {},
            {"requests": {"cpu": "500m", "memory": "2Gi"}},
            {"limits": {"vendor.example/gpu": 1, "cpu": "1.5"}},
        ]
    )
    scaling = st.sampled_from([None, {"minReplicas": 1, "maxReplicas": 4, "metric": "CPU"}])
    modes = st.sampled_from(["PerTier", "Ephemeral", "Shared"])

    def build(
        name: str,
        source: str,
        runtime: Manifest,
        needs: Manifest,
        mode: str,
        more: tuple[Manifest | None, int, int, bool],
    ) -> ModelTier:
        autoscaling, replicas, drain, refetch = more
        spec: Manifest = {"runtime": runtime, "resources": needs, "replicas": replicas}
        spec["rollout"] = {"drainTimeoutSeconds": drain}
        if source != "image":
            spec["cache"] = {"mode": mode} | ({"claimName": "shared"} if mode == "Shared" else {})
        if autoscaling is not None:
            spec["autoscaling"] = autoscaling
        notes = {"tiergarten.dev/refetch": "2"} if refetch else {}
        return tier(name, SOURCES[source], annotations=notes, **spec)

    more = st.tuples(scaling, st.integers(0, 5), st.integers(0, 600), st.booleans())
    return st.builds(
        build, names(), st.sampled_from(list(SOURCES)), runtimes, resources, modes, more
    )
