"""The demo's models and YAML are those of the example."""

from pathlib import Path

from tiergarten_api import gguf, manifests
from tiergarten_router.cli import materials

EXAMPLE = Path(__file__).parents[3] / "crds" / "examples" / "demo.yaml"


def test_the_yaml_is_the_example_s_and_names_the_models_that_are_written(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "small.gguf").write_bytes(b"of another version")

    materials.write(tmp_path)

    text = (tmp_path / materials.TIERS).read_text(encoding="utf-8")
    found = manifests.parse(text, "tiers.yaml")
    files = [file.name for tier in found.tiers for file in tier.spec.model.files or ()]
    assert text == EXAMPLE.read_text(encoding="utf-8")
    assert found.problems == ()
    assert files == [f"{name}.gguf" for name in materials.MODELS]
    for name in files:
        with (tmp_path / "models" / name).open("rb") as stream:
            assert gguf.read_header(stream).architecture
