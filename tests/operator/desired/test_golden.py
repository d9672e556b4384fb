"""Each child of some tiers, as a golden file: what changes in it is seen in a review."""

import os
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

import tiers
from tiergarten_operator import desired
from tiergarten_operator.settings import Settings

GOLDEN = Path(__file__).parents[1] / "golden"
SETTINGS = Settings()
ALL = Settings(
    network_policies=True, llama_api_key=SecretStr("k" * 16), hub_endpoint="https://hub.example"
)
UNNAMED = tiers.tier(model={"name": "small-q4", "source": tiers.VOLUME})
SCALING = {"minReplicas": 2, "maxReplicas": 4}
CASES = {
    "hub-fetching": (tiers.tier(), tiers.FETCHING, SETTINGS),
    "hub-verified": (tiers.tier(replicas=2), tiers.FETCHED, SETTINGS),
    "everything": (tiers.tier(autoscaling=SCALING), tiers.FETCHED, ALL),
    "http-ephemeral": (
        tiers.tier(source=tiers.HTTP, cache={"mode": "Ephemeral"}),
        tiers.FETCHING,
        SETTINGS,
    ),
    "volume": (tiers.tier(source=tiers.VOLUME), tiers.FETCHED, SETTINGS),
    "volume-unnamed": (UNNAMED, tiers.FETCHING, SETTINGS),
    "volume-found": (UNNAMED, tiers.FETCHED, SETTINGS),
    "image": (tiers.tier(source=tiers.IMAGE), tiers.FETCHED, SETTINGS),
    "gpu": (
        tiers.tier(resources={"limits": {"vendor.example/gpu": 1}}, runtime={"gpuLayers": 99}),
        tiers.FETCHED,
        SETTINGS,
    ),
    "cpu-scaling": (
        tiers.tier(autoscaling=SCALING | {"metric": "CPU", "target": 60}),
        tiers.FETCHED,
        SETTINGS,
    ),
}


class Plain(yaml.SafeDumper):
    """Writes everything out, also what stands twice."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


@pytest.mark.parametrize("case", CASES)
def test_children_are_as_their_golden_files_say(case: str) -> None:
    tier, fetch, settings = CASES[case]

    found = desired.build(tiers.facts(tier), fetch, settings)

    text = yaml.dump_all(found.children, Dumper=Plain, sort_keys=True, width=100)
    file = GOLDEN / f"{case}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text(), "set UPDATE_GOLDEN=1 to accept, and look at the difference"
