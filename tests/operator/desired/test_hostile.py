"""Whatever strings a tier holds: its pods stay restricted, its paths in their folder, no shell."""

from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import tiers
from tiergarten_api.v1alpha1 import ModelTier
from tiergarten_operator import acceptance, desired
from tiergarten_operator.desired.server import DRAIN
from tiergarten_operator.settings import Settings

HOSTILE = st.sampled_from(
    [
        "../../etc/shadow",
        "/etc/shadow",
        "a/../../b",
        "$(rm -rf /)",
        "`id`",
        "; id #",
        "a\nb",
        "a\x00b",
        "--api-key-file",
        "--model",
        "-hf",
        "hostPath",
        "x" * 5000,
        "q4",
        "file:///etc/passwd",
        "http://169.254.169.254/latest",
    ]
) | st.text(max_size=60)
ALLOWED = {"name", "emptyDir", "persistentVolumeClaim", "downwardAPI", "image"}


def specs() -> st.SearchStrategy[dict[str, Any]]:
    """Return specs with strings that somebody chose with care."""
    file = st.fixed_dictionaries({"name": HOSTILE})
    source = st.one_of(
        st.builds(lambda it: {"volume": {"claimName": "models", "subPath": it}}, HOSTILE),
        st.builds(lambda it: {"volume": {"claimName": it}}, HOSTILE),
        st.builds(lambda it: {"http": {"url": it}}, HOSTILE),
        st.builds(lambda it: {"huggingFace": {"repo": it}}, HOSTILE),
        st.builds(lambda it: {"image": {"reference": it}}, HOSTILE),
    )
    runtime = st.fixed_dictionaries(
        {},
        optional={
            "image": HOSTILE,
            "extraArgs": st.lists(HOSTILE, max_size=3),
            "extraEnv": st.lists(
                st.fixed_dictionaries({"name": HOSTILE, "value": HOSTILE}), max_size=2
            ),
        },
    )
    scheduling = st.dictionaries(
        st.sampled_from(["nodeSelector", "runtimeClassName", "hostNetwork", "serviceAccountName"]),
        HOSTILE | st.booleans() | st.dictionaries(HOSTILE, HOSTILE, max_size=1),
        max_size=2,
    )
    model = st.builds(
        lambda name, source, files: {"name": name, "source": source, "files": files},
        st.just("small") | HOSTILE,
        source,
        st.lists(file | st.just({"name": "m.gguf"}), min_size=1, max_size=2),
    )
    return st.builds(
        lambda model, runtime, scheduling: {
            "model": model,
            "runtime": runtime,
            "scheduling": scheduling,
        },
        model,
        runtime,
        scheduling,
    )


@settings(max_examples=300, suppress_health_check=[HealthCheck.filter_too_much])
@given(specs())
def test_what_is_accepted_gets_out_of_nothing(spec: dict[str, Any]) -> None:
    try:
        tier = ModelTier.model_validate(
            {"metadata": {"name": "q4", "namespace": "models", "uid": tiers.UID}, "spec": spec}
        )
    except ValidationError:
        return
    known = tiers.facts(tier, claims={it: {"spec": {}} for it in acceptance.claims(tier)})
    if acceptance.refusal(known, Settings()) is not None:
        return
    for fetch in (tiers.FETCHED, tiers.FETCHING):
        for child in desired.build(known, fetch, Settings()).children:
            assert child["metadata"]["namespace"] == "models"
            if child["kind"] in ("Deployment", "Job"):
                assert list(breaches(child["spec"]["template"]["spec"])) == []


def breaches(pod: dict[str, Any]) -> Iterator[str]:
    """Yield what a pod has that it may not have."""
    yield from {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    if pod["serviceAccountName"] != "q4" or pod["automountServiceAccountToken"]:
        yield "account"
    yield from {name for volume in pod["volumes"] for name in volume} - ALLOWED
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        security = container["securityContext"]
        if security["allowPrivilegeEscalation"] or security["capabilities"] != {"drop": ["ALL"]}:
            yield "privileges"
        yield from _paths(container)
        words = [*container.get("command", ()), *container.get("args", ())]
        if {"sh", "/bin/sh"} & set(words):
            yield "shell"
        hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        if hook and (hook[2] != DRAIN or not all(it.isdecimal() for it in hook[4:])):
            yield "drain"


def _paths(container: dict[str, Any]) -> Iterator[str]:
    for mount in container["volumeMounts"]:
        below = mount.get("subPath", "")
        if below.startswith("/") or ".." in below.split("/"):
            yield below
    words = container.get("args", ())
    yield from (it for it in words if it.startswith("/") and ".." in it.split("/"))
