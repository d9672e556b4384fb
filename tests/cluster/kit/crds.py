"""Puts the project's two resource definitions into a cluster."""

from functools import partial
from pathlib import Path
from typing import Any

import httpx
import yaml

from kit import api
from kit.errors import Failed
from kit.processes import wait_for

FOLDER = Path(__file__).parents[3] / "crds"
PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MANAGER = "test-crds"


def install(server: httpx.Client, folder: Path = FOLDER) -> None:
    """Apply the definitions and wait until their objects can be made.

    Raises:
        Failed: The API server refuses one.
    """
    for file in sorted(folder.glob("*.yaml")):
        definition = yaml.safe_load(file.read_text())
        path = f"{PATH}/{definition['metadata']['name']}"
        answer = api.apply(server, path, definition, manager=MANAGER, force=True)
        if answer.is_error:
            raise Failed(f"{file.name}: {answer.json()['message']}")
        spec = definition["spec"]
        served = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
        wait_for(f"{file.name} to be served", partial(api.answers, server, served), 30)


def conditions(server: httpx.Client, name: str) -> dict[str, str]:
    """Return what the API server says of a definition: the status of each condition."""
    answer: dict[str, Any] = server.get(f"{PATH}/{name}").raise_for_status().json()
    return {c["type"]: c["status"] for c in answer["status"]["conditions"]}
