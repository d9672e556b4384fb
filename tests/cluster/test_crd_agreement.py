"""The models and the API server accept and refuse the same, whatever is in a spec."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kit import crds
from kit.cluster import Cluster
from objects import DIGEST, ROUTE, SHA256, TIER, changed, put, routes, tiers
from tiergarten_api.v1alpha1 import ModelTier, TierRoute

pytestmark = pytest.mark.usefixtures("tiers_known")

EXAMPLES = 150
# What stands on either side of some rule, and what belongs nowhere.
NUMBERS = [-1, 0, 1, 2, 255, 256, 257, 512, 1000, 1001, 8192, 2**31 - 1, 2**31, 0.5]
TEXTS = [
    *("", "a", "A", "a.b", "a/b", "a b", "ä", "-", "x" * 64, "x" * 300, "../x.gguf", "m.gguf"),
    *("12Gi", "0", "0.0", "1.5Gi", "-1", "1e3", "http://h/m.gguf", "ftp://h/m", "http://", "on"),
    *("off", "auto", "f16", "q8_0", "Image", "Shared", "Ephemeral", "Projector", SHA256, DIGEST),
]
VALUES = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.booleans(),
    st.just({}),
    st.just([]),
    st.lists(st.sampled_from(["--host", "--host=x", "--verbose", "vision", "a", ""]), max_size=3),
)


def leaves(schema: dict[str, Any], path: str) -> Iterator[str]:
    """Yield the path of each field below one, as far as fields have names."""
    for name, below in schema.get("properties", {}).items():
        yield f"{path}/{name}"
        yield from leaves(below, f"{path}/{name}")


def spec_paths(plural: str) -> list[str]:
    definition = yaml.safe_load((crds.FOLDER / f"{plural}.tiergarten.dev.yaml").read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return list(leaves(schema["properties"]["spec"], "spec"))


def changes(plural: str, items: list[str]) -> st.SearchStrategy[list[tuple[str, object]]]:
    """Return up to four changes of fields; `items` are paths inside lists, which have no names."""
    paths = st.sampled_from(spec_paths(plural) + items)
    return st.lists(st.tuples(paths, VALUES), min_size=1, max_size=4)


def body_with(least: dict[str, Any], wanted: list[tuple[str, object]]) -> dict[str, Any] | None:
    """Return an object with changes, or None where one lies inside another's value."""
    try:
        return changed(least, *(put(path, value) for path, value in wanted))
    except (AttributeError, IndexError, TypeError, ValueError):
        return None


def agree(
    cluster: Cluster, path: str, model: type[ModelTier | TierRoute], body: dict[str, Any]
) -> None:
    query = {"dryRun": "All", "fieldValidation": "Strict"}
    answer = cluster.api.post(path, params=query, json=body)
    refusal = model_refusal(model, body)
    assert answer.is_error == bool(refusal), f"{body}: {refusal or 'no refusal'}; {answer.text}"


def model_refusal(model: type[ModelTier | TierRoute], body: dict[str, Any]) -> str:
    try:
        model.model_validate(body)
    except ValidationError as error:
        return str(error)
    return ""


FILES = ["spec/model/files/0/name", "spec/model/files/0/role", "spec/model/files/0/sha256"]
TIERS = ["spec/tiers/0/name", "spec/tiers/0/maxDifficulty", "spec/tiers/1/weight"]
CALM = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the examples write nothing
)


@CALM
@given(wanted=changes("modeltiers", FILES))
def test_models_and_server_agree_on_tiers(
    cluster: Cluster, namespace: str, wanted: list[tuple[str, object]]
) -> None:
    body = body_with(TIER, wanted)
    if body:
        agree(cluster, tiers(namespace), ModelTier, body)


@CALM
@given(wanted=changes("tierroutes", TIERS))
def test_models_and_server_agree_on_routes(
    cluster: Cluster, namespace: str, wanted: list[tuple[str, object]]
) -> None:
    body = body_with(ROUTE, wanted)
    if body:
        agree(cluster, routes(namespace), TierRoute, body)
