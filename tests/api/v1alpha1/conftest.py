"""A good tier and a good route as YAML has them, and ways to change and try them."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from tiergarten_api.v1alpha1 import ModelTier, TierRoute

MODELS: dict[str, type[BaseModel]] = {"ModelTier": ModelTier, "TierRoute": TierRoute}

TIER = {
    "apiVersion": "tiergarten.dev/v1alpha1",
    "kind": "ModelTier",
    "metadata": {"name": "q2"},
    "spec": {
        "model": {
            "name": "demo",
            "source": {"huggingFace": {"repo": "org/repo"}},
            "files": [{"name": "m-q4_k_m.gguf"}],
        }
    },
}
ROUTE = {
    "apiVersion": "tiergarten.dev/v1alpha1",
    "kind": "TierRoute",
    "metadata": {"name": "auto"},
    "spec": {
        "model": "auto",
        "strategy": "Threshold",
        "tiers": [{"name": "q2", "maxDifficulty": 40}, {"name": "q4", "maxDifficulty": 100}],
    },
}

Document = dict[str, Any]
Changed = Callable[..., Document]


def changed(document: Document, changes: dict[str, Any]) -> Document:
    """Return a copy with the values at paths such as `spec/cache/mode`; ... takes one away."""
    document = copy.deepcopy(document)
    for path, value in changes.items():
        *around, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        at: Any = document
        for part in around:
            at = at[part] if isinstance(part, int) else at.setdefault(part, {})
        if value is ...:
            del at[last]
        else:
            at[last] = value
    return document


@pytest.fixture
def tier() -> Changed:
    return lambda changes=(): changed(TIER, dict(changes))


@pytest.fixture
def route() -> Changed:
    return lambda changes=(): changed(ROUTE, dict(changes))


@pytest.fixture
def refusals() -> Callable[[Document], list[str]]:
    """Return what a document is refused for, as `path: message`; nothing for a good one."""

    def tried(document: Document) -> list[str]:
        try:
            MODELS[document["kind"]].model_validate(document, by_alias=True, by_name=False)
        except ValidationError as error:
            return [
                f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()
            ]
        return []

    return tried
