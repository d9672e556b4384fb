"""Settings of the environment that are refused or misspelt are named with value and cure."""

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from tiergarten_api import environment


class Settings(BaseModel):
    """A service's settings."""

    queue_seconds: float = 1
    api_key: SecretStr | None = None


def test_a_refused_value_is_shown_unless_it_is_a_secret() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"queue_seconds": "soon", "api_key": 17})

    number, key = environment.refused(Settings, caught.value)

    assert number.startswith("TIERGARTEN_QUEUE_SECONDS=soon: ")
    assert number.endswith("; see docs/settings.md")
    assert key.startswith("TIERGARTEN_API_KEY: ")
    assert "17" not in key


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("TIERGARTEN_QUEUE_SECOND", "write TIERGARTEN_QUEUE_SECONDS"),
        ("tiergarten_api_keys", "write TIERGARTEN_API_KEY"),
        ("TIERGARTEN_ELSEWHERE", "no setting of this program; see docs/settings.md"),
    ],
)
def test_a_variable_that_is_no_setting_is_named_with_the_cure(name: str, cure: str) -> None:
    assert environment.unknown(Settings, [name]) == {name: cure}


@pytest.mark.parametrize(
    "name",
    ["TIERGARTEN_QUEUE_SECONDS", "tiergarten_queue_seconds", "TIERGARTEN_FETCH_HEADER", "PATH"],
)
def test_settings_and_what_other_programs_are_given_are_no_strangers(name: str) -> None:
    assert environment.unknown(Settings, [name]) == {}
