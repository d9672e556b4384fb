"""Settings are read from the environment, and a key is never shown."""

import pytest

from tiergarten_operator.settings import Settings


def test_they_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERGARTEN_WORKERS", "3")
    monkeypatch.setenv("TIERGARTEN_SERVER_COMMAND", '["llama"]')
    monkeypatch.setenv("TIERGARTEN_LLAMA_API_KEY", "k" * 16)

    found = Settings()

    assert (found.workers, found.server_command) == (3, ("llama",))
    assert "k" * 16 not in repr(found)


@pytest.mark.parametrize(
    ("name", "value"), [("workers", 0), ("http_port", 70_000), ("claim_size", 5)]
)
def test_values_out_of_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        Settings.model_validate({name: value})
