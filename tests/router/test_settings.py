"""Settings come from the environment, once, and within bounds."""

import pytest
from pydantic import ValidationError

from tiergarten_router.settings import Settings


def test_a_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERGARTEN_QUEUE_PER_SLOT", "3")
    monkeypatch.setenv("TIERGARTEN_UNKNOWN", "x")

    assert Settings().queue_per_slot == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"idle_seconds": 0},
        {"log_level": "loud"},
        {"body_bytes": 1},
        {"queue_per_slot": -1},
        {"redis_url": "http://cache"},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


def test_settings_do_not_change_and_show_no_secret() -> None:
    settings = Settings.model_validate(
        {"redis_url": "redis://:hunter2@h", "cache_secret": "hunter2"}
    )

    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump_json()}"
    with pytest.raises(ValidationError):
        settings.cache = False  # type: ignore[misc]  # that is what is tested


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())
