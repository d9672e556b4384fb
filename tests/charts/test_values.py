"""The chart's values: what they make, what is refused, and that all of them are documented."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from charting import CASES, Rendered, only, pods
from kit.errors import Failed
from kit.helm import CHART, Helm
from tiergarten_api import crd
from tiergarten_operator.settings import Settings as OperatorSettings
from tiergarten_router.settings import Settings as RouterSettings

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((CHART / "values.schema.json").read_text())

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a word that is not known": ({"router": {"replica": 3}}, "additional properties 'replica'"),
    "no whole number": ({"router": {"replicas": "three"}}, "/router/replicas"),
    "no router": ({"router": {"replicas": 0}}, "minimum"),
    "too many operators": ({"operator": {"replicas": 4}}, "/operator/replicas"),
    "a policy that does not exist": (
        {"images": {"router": {"pullPolicy": "Sometimes"}}},
        "'Always', 'IfNotPresent', 'Never'",
    ),
    "half a digest": ({"images": {"router": {"digest": "sha256:abc"}}}, "/images/router/digest"),
    "a setting in capitals": (
        {"router": {"settings": {"TIERGARTEN_CACHE": "1"}}},
        "/router/settings",
    ),
    "an ingress without a host": ({"ingress": {"enabled": True}}, "/ingress/hosts"),
    "a namespace with capitals": ({"namespaces": ["Team"]}, "/namespaces/0"),
    "a namespace with dots": ({"namespaces": ["team.a"]}, "/namespaces/0"),
    "a setting that the chart sets": (
        {"router": {"settings": {"drain_seconds": 5}}},
        "router.settings.drain_seconds: the chart sets it; use router.drainSeconds",
    ),
    "an image among the settings": (
        {"operator": {"settings": {"fetch_image": "x"}}},
        "operator.settings.fetch_image: the chart sets it; use images.fetch",
    ),
    "all namespaces and one": (
        {"allNamespaces": True, "namespaces": ["a"]},
        "allNamespaces is true and namespaces is not empty: leave one of them out",
    ),
}


def leaves(node: yaml.MappingNode, path: str = "") -> Iterator[tuple[str, int]]:
    """Yield each value's path and line; mappings are left once they have no comments inside."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    for key, value in node.value:
        name = f"{path}{key.value}"
        below = value.start_mark.line - 1  # the line over the first one inside
        inside = isinstance(value, yaml.MappingNode) and below > key.start_mark.line
        if inside and lines[below].lstrip().startswith("#"):
            yield from leaves(value, f"{name}.")
        else:
            yield name, key.start_mark.line


def documented() -> dict[str, tuple[str, Any]]:
    """Return each value's comment and default."""
    text = (CHART / "values.yaml").read_text()
    lines, values = text.splitlines(), yaml.safe_load(text)
    found = {}
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    for name, line in leaves(root):
        default = values
        for part in name.split("."):
            default = default[part]
        found[name] = (lines[line - 1].strip().removeprefix("# "), default)
    return found


def test_helm_finds_nothing_to_complain_of(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm.lint()


def test_the_chart_and_its_images_have_the_projects_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert chart["version"] == chart["appVersion"] == project["version"]


def test_the_charts_definitions_are_those_of_the_models() -> None:
    there = {file.name: file.read_text() for file in (CHART / "crds").iterdir()}

    assert there == crd.files()


def test_every_value_has_a_line_that_says_what_it_is() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    silent = [name for name, (comment, _) in documented().items() if not comment.endswith(".")]

    assert silent == []
    assert [line for line in lines if len(line) > 130] == []


def test_every_value_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "install.md").read_text()

    rows = [
        f"| `{name}` | `{json.dumps(default)}` | {comment} |"
        for name, (comment, default) in documented().items()
        if name != "ingress.annotations"
    ]

    assert [row for row in rows if row not in page] == []
    told = re.findall(r"^\| `([a-zA-Z.]+)` \| (?:`|as below)", page, re.MULTILINE)
    assert told == list(documented())


def test_the_annotations_of_the_ingress_are_documented() -> None:
    page = (ROOT / "docs" / "install.md").read_text()

    annotations = yaml.safe_load((CHART / "values.yaml").read_text())["ingress"]["annotations"]
    block = next(it for it in page.split("```") if "proxy-read-timeout" in it)

    assert yaml.safe_load(block.removeprefix("text")) == annotations


def test_the_schema_knows_every_value() -> None:
    def known(path: list[str], schema: dict[str, Any]) -> bool:
        if "$ref" in schema:
            schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
        if not path:
            return bool(schema)
        return known(path[1:], schema.get("properties", {}).get(path[0], {}))

    assert [name for name in documented() if not known(name.split("."), SCHEMA)] == []


@pytest.mark.parametrize("case", REFUSED)
def test_what_makes_no_sense_is_refused_by_name(rendered: Rendered, case: str) -> None:
    values, words = REFUSED[case]

    with pytest.raises(Failed) as error:
        rendered(values=values)

    assert words in str(error.value)


def test_images_are_named_by_registry_tag_and_digest(rendered: Rendered) -> None:
    objects = rendered(values=CASES["everything"])

    router, operator = (
        only(objects, "Deployment", ending)["spec"]["template"]["spec"]["containers"][0]
        for ending in ("router", "operator")
    )

    assert router["image"] == f"mirror.example/llm/tiergarten-router:2@sha256:{'a' * 64}"
    env = {it["name"]: it.get("value") for it in operator["env"]}
    assert env["TIERGARTEN_SERVER_IMAGE"] == "mirror.example/llm/llama.cpp:server"
    assert json.loads(env["TIERGARTEN_SERVER_COMMAND"] or "") == ["/app/llama-server"]
    assert env["TIERGARTEN_FETCH_IMAGE"] == "mirror.example/llm/tiergarten-fetch:0.1.0"
    assert env["TIERGARTEN_IMAGE_PULL_POLICY"] == "Always"


def test_settings_reach_the_programs_as_they_were_written(rendered: Rendered) -> None:
    objects = rendered(values=CASES["everything"])

    router = only(objects, "Deployment", "router")["spec"]["template"]["spec"]
    env = {it["name"]: it.get("value") for it in router["containers"][0]["env"]}

    assert env["TIERGARTEN_BODY_BYTES"] == "8388608"
    assert env["TIERGARTEN_QUEUE_SECONDS"] == "1.5"
    assert env["TIERGARTEN_CACHE"] == "false"


@pytest.mark.parametrize(("port", "name"), [(0, "http"), (9090, "ops")])
def test_probes_and_metrics_go_to_the_port_that_answers_them(
    rendered: Rendered, port: int, name: str
) -> None:
    objects = rendered(values={"router": {"opsPort": port}, "networkPolicy": {"enabled": True}})

    spec = only(objects, "Deployment", "router")["spec"]["template"]["spec"]["containers"][0]
    for probe in ("livenessProbe", "readinessProbe"):
        assert spec[probe]["httpGet"]["port"] == name
    numbers = {it["name"]: it["containerPort"] for it in spec["ports"]}
    assert numbers == {"http": 8080} | ({name: port} if port else {})
    service = only(objects, "Service", "router-metrics")["spec"]["ports"][0]
    assert service == {"name": "metrics", "port": port or 8080, "targetPort": name}
    policy = only(objects, "NetworkPolicy", "router")["spec"]["ingress"][0]["ports"]
    assert {it["port"] for it in policy} == set(numbers)


def test_several_operators_choose_a_leader_and_one_is_replaced(rendered: Rendered) -> None:
    one, two = (rendered(values={"operator": {"replicas": n}}) for n in (1, 2))

    def told(objects: list[dict[str, Any]]) -> tuple[str, bool, bool]:
        spec = only(objects, "Deployment", "operator")["spec"]
        arguments = spec["template"]["spec"]["containers"][0]["args"]
        leases = any(it["metadata"]["name"].endswith("-lease") for it in objects)
        return spec["strategy"]["type"], "--leader-elect" in arguments, leases

    assert told(one) == ("Recreate", False, False)
    assert told(two) == ("RollingUpdate", True, True)


def test_the_router_has_time_to_end(rendered: Rendered) -> None:
    values = {"router": {"stopDelaySeconds": 7, "drainSeconds": 100}}

    spec = only(rendered(values=values), "Deployment", "router")["spec"]["template"]["spec"]

    assert spec["terminationGracePeriodSeconds"] > 107
    env = {it["name"]: it.get("value") for it in spec["containers"][0]["env"]}
    assert env["TIERGARTEN_STOP_DELAY_SECONDS"] == "7"
    assert env["TIERGARTEN_DRAIN_SECONDS"] == "100"


def test_the_urls_of_redis_and_all_keys_come_from_secrets_alone(rendered: Rendered) -> None:
    for template in pods(rendered(values=CASES["everything"])):
        for variable in template["spec"]["containers"][0]["env"]:
            if re.search(r"KEY|SECRET|REDIS", variable["name"]):
                assert set(variable) == {"name", "valueFrom"}


@pytest.mark.parametrize("case", CASES)
def test_every_variable_is_a_setting_of_its_program(rendered: Rendered, case: str) -> None:
    known: dict[str, type[BaseSettings]]
    known = {"operator": OperatorSettings, "router": RouterSettings}

    for template in pods(rendered(values=CASES[case])):
        (container,) = template["spec"]["containers"]
        told = {it["name"].removeprefix("TIERGARTEN_").lower() for it in container["env"]}
        assert told - set(known[container["name"]].model_fields) == set()


def test_the_policies_of_tiers_find_the_router(rendered: Rendered) -> None:
    router = only(rendered(), "Deployment", "router")["spec"]["template"]["metadata"]["labels"]

    assert OperatorSettings().router_labels.items() <= router.items()


def test_operator_and_router_share_one_key_that_is_random(rendered: Rendered) -> None:
    first, second = rendered(), rendered()

    references = [
        it["valueFrom"]["secretKeyRef"]
        for template in pods(first)
        for it in template["spec"]["containers"][0]["env"]
        if it["name"] == "TIERGARTEN_LLAMA_API_KEY"
    ]

    assert references == [{"name": "tg-tiergarten", "key": "llama-api-key"}] * 2
    keys = [only(objects, "Secret")["data"]["llama-api-key"] for objects in (first, second)]
    assert keys[0] != keys[1]


def test_streams_and_web_sockets_pass_the_ingress(rendered: Rendered) -> None:
    ingress = only(rendered(values=CASES["everything"]), "Ingress")

    told = {k.rpartition("/")[2]: v for k, v in ingress["metadata"]["annotations"].items()}

    assert int(told["proxy-read-timeout"]) >= 3600
    assert int(told["proxy-send-timeout"]) >= 3600
    assert told["proxy-buffering"] == "off"
    assert ingress["spec"]["rules"][0]["host"] == "llm.example"
