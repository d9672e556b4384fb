"""skaffold.yaml names images, targets, files and values that there are."""

import re
from typing import Any

import pytest
import yaml

import dockerfiles
from charting import Rendered, pods
from kit.helm import CHART
from kit.locks import PROJECT

Manifest = dict[str, Any]
SKAFFOLD: Manifest = yaml.safe_load((PROJECT / "skaffold.yaml").read_text())
(RELEASE,) = SKAFFOLD["deploy"]["helm"]["releases"]
TEMPLATE = re.compile(r"\{\{\.IMAGE_(REPO|TAG|DIGEST)_(\w+)\}\}")
DIGEST = f"sha256:{'b' * 64}"
# Of a Helm release in the schema of skaffold/v4beta13, which refuses other fields.
FIELDS = {"name", "chartPath", "namespace", "createNamespace", "setValueTemplates"}


def test_it_builds_every_image_from_its_dockerfile() -> None:
    built = {it["image"]: it["docker"] for it in SKAFFOLD["build"]["artifacts"]}

    assert built == {
        f"tiergarten-{name}": {"dockerfile": file, "target": name}
        for name, file in dockerfiles.IMAGES.items()
    }


def test_it_installs_the_chart() -> None:
    assert SKAFFOLD["apiVersion"].startswith("skaffold/v4")
    assert PROJECT / RELEASE["chartPath"] == CHART
    assert set(RELEASE) == FIELDS
    (forwarded,) = SKAFFOLD["portForward"]
    assert forwarded["resourceName"] == f"{RELEASE['name']}-router"
    assert forwarded["namespace"] == RELEASE["namespace"]


@pytest.mark.parametrize(("digest", "ending"), [(DIGEST, f"@{DIGEST}"), ("", "")])
def test_it_gives_the_chart_what_it_built_pushed_or_not(
    rendered: Rendered, digest: str, ending: str
) -> None:
    values: Manifest = {}
    made = {"REPO": "local/{}", "TAG": "1", "DIGEST": digest}
    for path, template in RELEASE["setValueTemplates"].items():
        *places, last = path.split(".")
        inner = values
        for place in places:
            inner = inner.setdefault(place, {})
        inner[last] = TEMPLATE.sub(lambda it: made[it[1]].format(it[2].replace("_", "-")), template)

    containers = [it["spec"]["containers"][0] for it in pods(rendered(values=values))]
    named = {it["image"] for it in containers} | {
        variable["value"]
        for it in containers
        for variable in it["env"]
        if variable["name"].endswith("_IMAGE")
    }

    assert named == {f"local/tiergarten-{name}:1{ending}" for name in dockerfiles.IMAGES}
