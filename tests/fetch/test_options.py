"""What the environment says about a fetch."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tiergarten_fetch.options import HUB, Options, free_bytes, from_environment


def test_an_empty_environment_gives_the_defaults():
    blank = {"HF_ENDPOINT": "", "HF_TOKEN": "", "TIERGARTEN_FETCH_HEADER": " \n"}

    assert from_environment({}) == from_environment(blank) == Options()
    assert Options().endpoint == HUB == "https://huggingface.co"


def test_all_of_the_environment_is_read_and_secrets_do_not_show():
    chosen = from_environment(
        {
            "HF_ENDPOINT": "https://mirror",
            "HF_TOKEN": "canary",
            "TIERGARTEN_FETCH_HEADER": "X: canary",
            "TIERGARTEN_FETCH_LOOPBACK": "1",
        }
    )

    assert (chosen.endpoint, chosen.loopback) == ("https://mirror", True)
    assert chosen.token == SecretStr("canary")
    assert chosen.header == SecretStr("X: canary")
    assert "canary" not in repr(chosen)


@pytest.mark.parametrize("value", ["", "0", "true"])
def test_loopback_is_allowed_by_1_alone(value: str):
    assert not from_environment({"TIERGARTEN_FETCH_LOOPBACK": value}).loopback


def test_free_bytes_are_those_of_the_folders_file_system(tmp_path: Path):
    assert free_bytes(tmp_path) > 0
