"""The generated CRDs say all that the reference says, and beyond it only what is listed here."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiergarten_api import crd, structural
from tiergarten_api.v1alpha1 import TierRoute

REFERENCE = Path(__file__).parent / "reference"
ROOT = Path(__file__).parents[2]

RULES = "x-kubernetes-validations"
CONDITION = "TierRoute/status/conditions/[]"

# Where something was added, and why.
ADDED = {
    f"ModelTier/{RULES}": "a name with dots would be refused as the name of a Service",
    f"ModelTier/spec/model/source/http/url/{RULES}": "a URL without a host leads nowhere",
    "ModelTier/spec/routing/latencyObjectiveSeconds": "what users may expect",
    "ModelTier/spec/cache/size/minimum": "a number is no less bounded than a text",
    "ModelTier/spec/resources/requests/*/minimum": "likewise",
    "ModelTier/spec/resources/limits/*/minimum": "likewise",
    "ModelTier/spec/routing/costPerMillionTokens/minimum": "likewise",
    "TierRoute/spec/fallback/on/default": "what does not fit a tier belongs to one that holds it",
    "TierRoute/spec/tiers/[]/maxPromptTokens/maximum": "what format int32 means, said openly",
    # A condition is the same in both kinds.
    f"{CONDITION}/type/maxLength": "as in ModelTier",
    f"{CONDITION}/observedGeneration/minimum": "as in ModelTier",
    f"{CONDITION}/reason/maxLength": "as in ModelTier",
    f"{CONDITION}/reason/pattern": "as in ModelTier",
    f"{CONDITION}/message/maxLength": "as in ModelTier",
}

Schema = dict[str, Any]


def crds() -> dict[str, Schema]:
    """Return our CRDs by kind."""
    return {"ModelTier": crd.model_tiers(), "TierRoute": crd.tier_routes()}


def definitions() -> dict[str, tuple[Schema, Schema]]:
    """Return the reference's CRD and ours by kind."""
    files = {kind: REFERENCE / f"{kind.lower()}.yaml" for kind in crds()}
    return {kind: (yaml.safe_load(files[kind].read_text()), ours) for kind, ours in crds().items()}


def schema_of(definition: Schema) -> Schema:
    schema: Schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def keywords(schema: Schema, path: str) -> Iterator[tuple[str, object]]:
    """Yield each keyword of a schema and those below it, by path."""
    for keyword, value in schema.items():
        if keyword == "properties":
            yield from (found for name in value for found in below(value[name], f"{path}/{name}"))
        elif keyword == "items":
            yield from below(value, f"{path}/[]")
        elif keyword == "additionalProperties":
            yield from below(value, f"{path}/*")
        elif keyword != "description":
            yield f"{path}/{keyword}", value


def below(schema: Schema, path: str) -> Iterator[tuple[str, object]]:
    yield path, "is there"
    yield from keywords(schema, path)


def is_added(path: str) -> bool:
    return any(path == added or path.startswith(f"{added}/") for added in ADDED)


@pytest.mark.parametrize("kind", ["ModelTier", "TierRoute"])
def test_the_schema_says_what_the_reference_says_and_what_is_listed(kind: str):
    theirs, ours = (dict(keywords(schema_of(it), kind)) for it in definitions()[kind])

    differing = {path for path in theirs.keys() | ours if theirs.get(path) != ours.get(path)}

    assert sorted(path for path in differing if not is_added(path)) == []
    assert {added for added in ADDED if added.startswith(kind)} <= differing


@pytest.mark.parametrize("kind", ["ModelTier", "TierRoute"])
def test_rules_of_the_reference_are_kept_where_some_were_added(kind: str):
    theirs, ours = (dict(keywords(schema_of(it), kind)) for it in definitions()[kind])

    for path in (path for path in ADDED if path.endswith(RULES) and path.startswith(kind)):
        wanted, found = theirs[path], ours[path]
        assert isinstance(wanted, list)
        assert isinstance(found, list)
        assert found[: len(wanted)] == wanted


@pytest.mark.parametrize("kind", ["ModelTier", "TierRoute"])
def test_all_but_the_schema_is_equal(kind: str):
    theirs, ours = definitions()[kind]
    for definition in (theirs, ours):
        definition["spec"].setdefault("conversion", {"strategy": "None"})
        del definition["spec"]["versions"][0]["schema"]

    assert ours == theirs


def descriptions(schema: Schema, path: str) -> Iterator[tuple[str, str | None]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field.get("description")
        yield from descriptions(field, f"{path}.{name}")
    for inner in {"items", "additionalProperties"} & schema.keys():
        yield from descriptions(schema[inner], f"{path}[]")


@pytest.mark.parametrize("kind", ["ModelTier", "TierRoute"])
def test_every_field_is_described_in_a_sentence(kind: str):
    found = dict(descriptions(schema_of(crds()[kind]), kind))

    # The API server refuses a CRD that says anything about metadata.
    assert found.pop(f"{kind}.metadata") is None
    bad = {path: text for path, text in found.items() if not text or not text.endswith(".")}
    assert bad == {}


@pytest.mark.parametrize("kind", ["ModelTier", "TierRoute"])
def test_all_that_a_user_may_repeat_is_bounded_so_that_the_cost_of_rules_is(kind: str):
    found = dict(keywords(schema_of(crds()[kind])["properties"]["spec"], "spec"))

    lists = {path.removesuffix("/type") for path, value in found.items() if value == "array"}
    maps = {path.removesuffix("/*") for path in found if path.endswith("/*")}

    assert lists
    assert {path for path in lists if f"{path}/maxItems" not in found} == set()
    assert {path for path in maps if f"{path}/maxProperties" not in found} == set()


def test_the_files_in_the_repository_are_the_generated_ones():
    assert crd.main(["--check", "--folder", str(ROOT / "crds")]) == 0


def test_writing_makes_what_the_check_wants(tmp_path: Path):
    assert crd.main(["--check", "--folder", str(tmp_path)]) == 1

    assert crd.main(["--folder", str(tmp_path)]) == 0

    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(crd.files())
    assert crd.main(["--check", "--folder", str(tmp_path)]) == 0


def test_a_difference_is_shown_with_its_cure(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    crd.main(["--folder", str(tmp_path)])
    path = tmp_path / "tierroutes.tiergarten.dev.yaml"
    path.write_text(path.read_text().replace("maximum: 1000\n", "maximum: 9\n"))

    assert crd.main(["--check", "--folder", str(tmp_path)]) == 1

    shown = capsys.readouterr().err
    assert "-                      maximum: 9" in shown
    assert "run `python -m tiergarten_api.crd` and commit what it writes" in shown


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        crd.main(["--folder", str(tmp_path / "none")])

    assert "is no folder; run this in the repository's root" in capsys.readouterr().err


def test_the_written_yaml_is_read_back_as_it_was():
    assert [yaml.safe_load(text) for text in crd.files().values()] == [*crds().values()]


def test_the_schema_of_a_route_is_that_of_its_model():
    ours = schema_of(crd.tier_routes())

    assert ours["properties"]["spec"] == structural.of(TierRoute)["properties"]["spec"]
