"""Several YAML files are read as one, and each problem is put back into its own."""

import pytest

from tiergarten_router.sources import files
from tiergarten_router.sources.files import Text

TIER = """\
apiVersion: tiergarten.dev/v1alpha1
kind: ModelTier
metadata: {{name: {name}}}
spec:
  model:
    name: demo
    source: {{volume: {{claimName: models}}}}
  routing: {{rank: {rank}}}
  {more}
"""
ROUTE = """\
apiVersion: tiergarten.dev/v1alpha1
kind: TierRoute
metadata: {name: auto}
spec: {model: auto, tiers: [{name: q2}]}
"""


def tier(name, rank=1, more=""):
    return TIER.format(name=name, rank=rank, more=more)


def parse(*texts):
    return files.parse([Text(f"{number}.yaml", text) for number, text in enumerate(texts)])


def test_tiers_and_routes_keep_their_order():
    contents = parse(tier("q4", 2) + "---\n" + ROUTE, tier("q2"))

    assert [tier.metadata.name for tier in contents.tiers] == ["q4", "q2"]
    assert [route.metadata.name for route in contents.routes] == ["auto"]
    assert contents.errors == contents.warnings == ()


def test_a_route_may_name_a_tier_of_another_file():
    assert parse(ROUTE, tier("q2")).warnings == ()
    assert "q2" in parse(ROUTE, tier("q3")).warnings[0]


def test_two_files_may_not_hold_the_same_tier():
    (error,) = parse(tier("q2"), "# comment\n---\n" + tier("q2", 2)).errors

    assert error.startswith("1.yaml:5: error: metadata.name")


@pytest.mark.parametrize("end", ["", "\n", "\n---\n", "\n...\n", "\n# end"])
def test_a_problem_is_placed_in_its_file_and_line(end):
    good, bad = tier("q2").rstrip("\n") + end, "\ufeff# first\n" + tier("q3", -1)

    (error,) = parse(good, bad, tier("q4", 4)).errors

    assert error.startswith("1.yaml:9: error: spec.routing.rank")


def test_a_document_is_counted_in_its_file():
    (error,) = parse(tier("q2") + "---\n" + ROUTE, "just a text\n").errors

    assert error.startswith("1.yaml:1: error: document 1")


def test_an_option_that_a_tier_may_not_have_is_an_error():
    (error,) = parse(tier("q2", more="runtime: {extraArgs: [--ssl-key-file, x]}")).errors

    assert error.startswith("tier q2: error: spec.runtime.extraArgs[0]: --ssl-key-file")


def test_files_without_a_tier_are_an_error():
    (error,) = parse(ROUTE, "").errors

    assert error.startswith("0.yaml, 1.yaml: error: there is no ModelTier in it")


def test_what_cannot_be_read_is_named(tmp_path):
    good = tmp_path / "good.yaml"
    good.write_text(tier("q2"))
    binary = tmp_path / "model.gguf"
    binary.write_bytes(b"GGUF\xff\xfe")

    contents = files.read([good, tmp_path / "none.yaml", binary, tmp_path])

    assert [tier.metadata.name for tier in contents.tiers] == ["q2"]
    cure = "name a YAML file that can be read"
    assert contents.errors == (
        f"{tmp_path}/none.yaml: error: No such file or directory; {cure}",
        f"{binary}: error: is no UTF-8 text; name a YAML file",
        f"{tmp_path}: error: Is a directory; {cure}",
    )
