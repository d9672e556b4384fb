"""The CustomResourceDefinitions, written from the models.

    python -m tiergarten_api.crd [--check] [--folder crds]

writes one YAML file a kind, or with `--check` compares what is there with what would be written.
The functions above `main` are pure; the chart's copy is written with `--folder`.
"""

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tiergarten_api import labels, structural
from tiergarten_api.v1alpha1 import ModelTier, Schema, TierRoute

Manifest = dict[str, Any]

HEADER: Final = "# Written by `python -m tiergarten_api.crd` from tiergarten_api.v1alpha1.\n"
DIFF_LINES: Final = 40
"""Most lines of difference that `--check` shows; the cure is the same for any number."""

CONDITION: Final = '.status.conditions[?(@.type=="{type}")].{field}'

TYPE_META: Final = {
    "apiVersion": {
        "description": "Version of the API that the object is written in.",
        "type": "string",
    },
    "kind": {"description": "Kind of the object.", "type": "string"},
    "metadata": {"type": "object"},  # the API server allows no word more on it
}
"""What the API server itself checks and a CRD may only name."""


def model_tiers() -> Manifest:
    """Return the CRD of ModelTier."""
    version = {
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "selectableFields": [{"jsonPath": ".spec.model.name"}],
        "additionalPrinterColumns": [
            _column("Model", ".spec.model.name"),
            _column("Quant", ".status.model.quantization"),
            _column("Desired", ".spec.replicas", "integer"),
            _column("Ready", ".status.readyReplicas", "integer"),
            _column("Status", CONDITION.format(type="Ready", field="reason")),
            _column("Rank", ".spec.routing.rank", "integer", wide=True),
            _column("Context", ".spec.runtime.contextLength", "integer", wide=True),
            _column("Memory", ".status.memory.request", wide=True),
            _column("URL", ".status.endpoint.url", wide=True),
            _column("Age", ".metadata.creationTimestamp", "date"),
        ],
    }
    return _definition(ModelTier, "mt", labels.MODEL_TIERS, version)


def tier_routes() -> Manifest:
    """Return the CRD of TierRoute."""
    version = {
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            _column("Model", ".spec.model"),
            _column("Strategy", ".spec.strategy"),
            _column("Accepted", CONDITION.format(type="Accepted", field="status")),
            _column("Resolved", CONDITION.format(type="ResolvedRefs", field="status")),
            _column("Age", ".metadata.creationTimestamp", "date"),
        ],
    }
    return _definition(TierRoute, "tr", labels.TIER_ROUTES, version)


def files() -> dict[str, str]:
    """Return the text of each file by its name."""
    return {
        f"{definition['metadata']['name']}.yaml": HEADER
        + yaml.safe_dump(definition, sort_keys=False, allow_unicode=True, width=100)
        for definition in (model_tiers(), tier_routes())
    }


def _definition(model: type[Schema], short: str, plural: str, version: Manifest) -> Manifest:
    kind = model.__name__
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{labels.GROUP}"},
        "spec": {
            "group": labels.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short],
                "categories": ["llm"],
            },
            "conversion": {"strategy": "None"},
            "versions": [
                {
                    "name": labels.VERSION,
                    "served": True,
                    "storage": True,
                    **version,
                    "schema": {"openAPIV3Schema": _object(model)},
                }
            ],
        },
    }


def _object(model: type[Schema]) -> structural.JsonSchema:
    schema = structural.of(model)
    schema["properties"] |= TYPE_META
    schema["required"] = ["spec"]
    return schema


def _column(name: str, path: str, kind: str = "string", *, wide: bool = False) -> Manifest:
    column: Manifest = {"name": name, "type": kind, "jsonPath": path}
    return column | ({"priority": 1} if wide else {})


def _differences(folder: Path) -> list[str]:
    """Return lines that say how the files differ from what would be written; none when equal."""
    lines: list[str] = []
    for name, wanted in files().items():
        path = folder / name
        there = path.read_text(encoding="utf-8") if path.exists() else ""
        lines += difflib.unified_diff(
            there.splitlines(), wanted.splitlines(), str(path), "generated", lineterm="", n=1
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the files.

    Args:
        arguments: Those of the command line by default.

    Returns:
        The exit status: 1 when `--check` found a difference.
    """
    parser = argparse.ArgumentParser(prog="python -m tiergarten_api.crd", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare and write nothing")
    parser.add_argument(
        "--folder", type=Path, default=Path("crds"), help="folder of the files (default: crds)"
    )
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        parser.error(f"--folder {options.folder} is no folder; run this in the repository's root")
    if not options.check:
        for name, text in files().items():
            (options.folder / name).write_text(text, encoding="utf-8")
        return 0
    if lines := _differences(options.folder):
        cure = "run `python -m tiergarten_api.crd` and commit what it writes"
        sys.stderr.write("\n".join([*lines[:DIFF_LINES], f"The CRDs are out of date: {cure}", ""]))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
