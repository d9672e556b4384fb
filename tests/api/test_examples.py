"""The examples that README and local mode use are good, and are what they say."""

from pathlib import Path

import pytest

from tiergarten_api import manifests
from tiergarten_api.manifests import Manifests

EXAMPLES = Path(__file__).parents[2] / "crds" / "examples"


def read(name: str) -> Manifests:
    return manifests.parse((EXAMPLES / name).read_text(encoding="utf-8"), name)


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_an_example_has_no_problem_and_three_tiers_with_a_route(name: str):
    found = read(name)

    assert found.problems == ()
    tiers = {tier.metadata.name: tier.spec for tier in found.tiers}
    assert list(tiers) == ["q2", "q3", "q4"]
    assert [spec.replicas for spec in tiers.values()] == [2, 1, 1]
    assert [spec.routing.rank for spec in tiers.values()] == [10, 20, 30]
    assert [spec.routing.latency_objective_seconds for spec in tiers.values()] == [2, 5, 15]
    assert len({spec.model.name for spec in tiers.values()}) == 1
    (route,) = found.routes
    assert (route.metadata.name, route.spec.model) == ("auto", "auto")
    assert [(tier.name, tier.max_difficulty) for tier in route.spec.tiers] == [
        ("q2", 33),
        ("q3", 66),
        ("q4", 100),
    ]


def test_the_demo_reads_three_small_models_from_one_claim():
    specs = [tier.spec for tier in read("demo.yaml").tiers]

    assert {spec.model.source.volume and spec.model.source.volume.claim_name for spec in specs} == {
        "models"
    }
    assert [file.name for spec in specs for file in spec.model.files or ()] == [
        "small.gguf",
        "medium.gguf",
        "large.gguf",
    ]


def test_the_real_model_comes_at_three_quantizations_from_hugging_face():
    specs = [tier.spec for tier in read("deepseek-r1-qwen3-8b.yaml").tiers]

    names = [file.name for spec in specs for file in spec.model.files or ()]
    assert [name.removeprefix("DeepSeek-R1-0528-Qwen3-8B-") for name in names] == [
        "Q2_K.gguf",
        "Q3_K_M.gguf",
        "Q4_K_M.gguf",
    ]
    sources = [spec.model.source.hugging_face for spec in specs]
    assert {source and source.repo for source in sources} == {
        "unsloth/DeepSeek-R1-0528-Qwen3-8B-GGUF"
    }
