"""What the demo needs on disk: three small models and the YAML of their tiers."""

from importlib import resources
from pathlib import Path
from typing import Final

import tiergarten_api
from tiergarten_llama import models

MODELS: Final = ("small", "medium", "large")
TIERS: Final = "tiers.yaml"
_EXAMPLE: Final = "demo.yaml"


def write(folder: Path) -> None:
    """Write the models, a second's work, and the YAML.

    They are written anew each time, so that those of another version never stay.

    Args:
        folder: Where; the models go into its folder `models`, which stands for the claim.

    Raises:
        OSError: If that is not possible.
    """
    (folder / "models").mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        models.write_scripted(folder / "models" / f"{name}.gguf", name)
    (folder / TIERS).write_text(example(), encoding="utf-8")


def example() -> str:
    """Return the demo's YAML: in a wheel beside this module, in a checkout among the examples."""
    crds = Path(tiergarten_api.__file__).parents[1]
    places = (resources.files(__package__) / _EXAMPLE, crds / "examples" / _EXAMPLE)
    return next(place for place in places if place.is_file()).read_text(encoding="utf-8")
