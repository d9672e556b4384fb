"""A process is started with the command line that a pod would have."""

import sys
from pathlib import Path

import pytest

from tiergarten_api import llama
from tiergarten_api.v1alpha1 import ModelTierSpec
from tiergarten_router.sources import builder
from tiergarten_router.sources.models import Model, Unusable
from tiergarten_router.sources.template import File

ROLES = ("Model", "Model", "Projector", "Draft", "Adapter", "Adapter")
FILES = tuple(File(Path(f"/models/{number}.gguf"), 1, 1) for number in range(len(ROLES)))


def model(*roles, header=None):
    return Model(FILES[: len(roles)], roles, header)


def spec(**fields):
    source = {"volume": {"claimName": "models"}}
    return ModelTierSpec.model_validate({"model": {"name": "demo", "source": source}, **fields})


def test_the_arguments_are_those_of_a_pod():
    wanted = spec(runtime={"contextLength": 2048, "parallel": 2})

    template = builder.template(wanted, model("Model"), ("llama-server",), {})

    arguments = llama.argv(wanted, "/models/0.gguf", host="127.0.0.1", port=7)
    assert template.command(7) == ["llama-server", *arguments]
    assert template.files == FILES[:1]


def test_every_file_is_loaded_as_its_role_says_and_a_split_model_by_its_first_part():
    template = builder.template(spec(), model(*ROLES), ("llama-server",), {})

    command = template.command(1)
    for flag, value in (
        ("--model", "/models/0.gguf"), ("--mmproj", "/models/2.gguf"),
        ("--spec-draft-model", "/models/3.gguf"), ("--lora", "/models/4.gguf,/models/5.gguf"),
    ):  # fmt: skip
        assert command[command.index(flag) + 1] == value


def test_routing_and_replicas_are_no_part_of_it():
    one = builder.template(spec(), model("Model"), ("x",), {})

    other = spec(replicas=5, routing={"rank": 7, "capabilities": ["tools"]})

    assert builder.template(other, model("Model"), ("x",), {}) == one


def test_variables_come_from_the_tier_and_secrets_from_the_environment():
    key = {"secretKeyRef": {"name": "llama", "key": "api"}}
    env = [{"name": "LLAMA_API_KEY", "valueFrom": key}, {"name": "TZ", "value": "UTC"},
           {"name": "EMPTY"}]  # fmt: skip

    template = builder.template(
        spec(runtime={"extraEnv": env}), model("Model"), ("x",),
        {"TIERGARTEN_SECRET_LLAMA_API": "sesame"},
    )  # fmt: skip

    assert template.env == (("LLAMA_API_KEY", "sesame"), ("TZ", "UTC"), ("EMPTY", ""))
    assert template.api_key == "sesame"


def executable(path):
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_program_is_the_one_that_is_given(tmp_path):
    path = executable(tmp_path / "my-server")

    assert builder.program(path) == (str(path),)


def test_a_given_program_that_is_none_is_refused(tmp_path):
    with pytest.raises(Unusable, match=r"my-server: is no program; name one that is$"):
        builder.program(tmp_path / "my-server")


def test_a_llama_server_of_path_comes_before_our_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert builder.program(None)[0] == sys.executable

    path = executable(tmp_path / "llama-server")

    assert builder.program(None) == (str(path),)
