"""What the API server accepts and refuses of a tier, and that the models say the same."""

from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from kit.cluster import Cluster
from objects import DIGEST, TIER, Change, changed, drop, put, tiers
from tiergarten_api.v1alpha1 import ModelTier

pytestmark = pytest.mark.usefixtures("tiers_known")

SOURCE, CACHE, RUNTIME = "spec/model/source", "spec/cache", "spec/runtime"
IMAGE, VOLUME = {"image": {"reference": DIGEST}}, {"volume": {"claimName": "models"}}
AT_COST = "spec/routing/costPerMillionTokens"
OBJECTIVE = "spec/routing/latencyObjectiveSeconds"

# What is refused, the words by which a user learns why, and the changes.
REFUSED: dict[str, tuple[str, tuple[Change, ...]]] = {
    "no source": ("exactly one of", (put(SOURCE, {}),)),
    "two sources": ("exactly one of", (put(f"{SOURCE}/volume", {"claimName": "x"}),)),
    "a tag instead of a digest": (
        "pinned by digest",
        (put(SOURCE, {"image": {"reference": "r.io/m:1"}}), put(f"{CACHE}/mode", "Image")),
    ),
    "an image source with a cache": ("not cached", (put(SOURCE, IMAGE),)),
    "cache mode Image without an image": (
        "needs an image source",
        (put(f"{CACHE}/mode", "Image"),),
    ),
    "a fetched source without files": ("files is required", (drop("spec/model/files"),)),
    "files with no model among them": (
        "role Model",
        (put("spec/model/files/0/role", "Projector"),),
    ),
    "a file named twice": (
        "Duplicate value",
        (put("spec/model/files", TIER["spec"]["model"]["files"] * 2),),
    ),
    "a shared cache without a claim": ("needs claimName", (put(f"{CACHE}/mode", "Shared"),)),
    "a claim for a cache of its own": ("needs claimName", (put(f"{CACHE}/claimName", "models"),)),
    "a file URL": ("http or https", (put(SOURCE, {"http": {"url": "file:///etc/passwd"}}),)),
    "a URL without a host": (
        "must name a host",
        (put(SOURCE, {"http": {"url": "http:///m.gguf"}}),),
    ),
    "a path that climbs": ("relative path", (put("spec/model/files/0/name", "../x.gguf"),)),
    "an absolute path": ("relative path", (put("spec/model/files/0/name", "/x.gguf"),)),
    "a file that is no GGUF": ("ending in .gguf", (put("spec/model/files/0/name", "x.bin"),)),
    "a folder of a volume that climbs": (
        "relative path",
        (put(SOURCE, {"volume": {"claimName": "x", "subPath": "a/../../b"}}),),
    ),
    "a short checksum": ("should match", (put("spec/model/files/0/sha256", "abc"),)),
    "a misspelt field": ("unknown field", (put(f"{RUNTIME}/contextLenght", 1),)),
    "a flag that the operator owns": (
        "operator owns",
        (put(f"{RUNTIME}/extraArgs", ["--host=0.0.0.0"]),),
    ),
    "slots that are too small": (
        "at least 256",
        (put(f"{RUNTIME}/contextLength", 512), put(f"{RUNTIME}/parallel", 8)),
    ),
    "a quantised V cache without flash attention": (
        "flash attention",
        (put(RUNTIME, {"flashAttention": "off", "kvCache": {"v": "q8_0"}}),),
    ),
    "flashAttention: on, which YAML reads as true": (
        "must be of type string",
        (put(f"{RUNTIME}/flashAttention", value=True),),
    ),
    "a minimum over the maximum": (
        "must not exceed",
        (put("spec/autoscaling", {"minReplicas": 4, "maxReplicas": 2}),),
    ),
    "suspend with autoscaling": (
        "exclude each other",
        (put("spec/autoscaling", {"maxReplicas": 2}), put("spec/suspend", value=True)),
    ),
    "a long name": ("at most 52", (put("metadata/name", "x" * 53),)),
    "a name with a dot, which no Service can have": (
        "DNS label",
        (put("metadata/name", "q4.k"),),
    ),
    "a name that starts with a digit": ("DNS label", (put("metadata/name", "4bit"),)),
    "a quantity of no known unit": ("spec.cache.size", (put(f"{CACHE}/size", "12Gx"),)),
    "an empty cache": ("positive quantity", (put(f"{CACHE}/size", 0),)),
    "a price with two points": (AT_COST.replace("/", "."), (put(AT_COST, "1.2.3"),)),
    "a latency objective of nothing": ("greater than or equal to 1", (put(OBJECTIVE, 0),)),
    "a latency objective over an hour": ("less than or equal to 3600", (put(OBJECTIVE, 3601),)),
    "a latency objective in fractions": ("must be of type integer", (put(OBJECTIVE, 1.5),)),
    "a model name in capitals": ("should match", (put("spec/model/name", "Qwen"),)),
    "a capability named twice": (
        "Duplicate value",
        (put("spec/routing/capabilities", ["vision", "vision"]),),
    ),
}

# What is accepted; the last ones only because nothing here can know better: others refuse them.
ACCEPTED: dict[str, tuple[Change, ...]] = {
    "the least tier": (),
    "an image source mounted by the kubelet": (
        put(SOURCE, IMAGE),
        put(f"{CACHE}/mode", "Image"),
        drop("spec/model/files"),
    ),
    "a volume source without files": (put(SOURCE, VOLUME), drop("spec/model/files")),
    "a volume source with a cache, which means nothing": (
        put(SOURCE, VOLUME),
        put(f"{CACHE}/size", "5Gi"),
    ),
    "a shared cache": (put(CACHE, {"mode": "Shared", "claimName": "models"}),),
    "a web server": (put(SOURCE, {"http": {"url": "http://10.0.0.1:8000/models/m.gguf"}}),),
    "other flags": (put(f"{RUNTIME}/extraArgs", ["--no-warmup", "--batch-size=512"]),),
    "flashAttention in quotes": (put(f"{RUNTIME}/flashAttention", "on"),),
    "a quantity": (put(f"{CACHE}/size", "12Gi"),),
    "a number of bytes": (put(f"{CACHE}/size", 1 << 30),),
    "a model name with a path and a tag": (put("spec/model/name", "org/model:q4"),),
    "a name of 52 characters": (put("metadata/name", "x" * 52),),
    "a price in fractions": (put(AT_COST, "0.25"),),
    "the shortest latency objective": (put(OBJECTIVE, 1),),
    "the longest latency objective": (put(OBJECTIVE, 3600),),
    "no latency objective": (put("spec/routing", {"rank": 1}),),
    "an affinity that no pod can have": (
        put("spec/scheduling/affinity", {"nodeAffinity": {"nonsense": True}}),
    ),
}


def ask(cluster: Cluster, namespace: str, body: dict[str, Any]) -> httpx.Response:
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    return cluster.api.post(tiers(namespace), params=query, json=body)


@pytest.mark.parametrize(("words", "changes"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses_and_says_why(
    cluster: Cluster, namespace: str, words: str, changes: tuple[Change, ...]
) -> None:
    body = changed(TIER, *changes)

    answer = ask(cluster, namespace, body)

    assert answer.status_code in (400, 422), answer.text
    assert words in answer.json()["message"]
    with pytest.raises(ValidationError):
        ModelTier.model_validate(body)


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepts(cluster: Cluster, namespace: str, changes: tuple[Change, ...]) -> None:
    body = changed(TIER, *changes)

    answer = ask(cluster, namespace, body)

    assert answer.status_code == 201, answer.text
    ModelTier.model_validate(body)
