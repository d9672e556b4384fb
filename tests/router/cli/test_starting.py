"""What a program that serves refuses before it serves, in a line each and without secrets."""

import socket

import pytest
import uvloop
from rich.console import Console
from structlog.testing import capture_logs

from tiergarten_router.cli import starting
from tiergarten_router.cli.starting import NotStarted


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERGARTEN_QUEUE_SECONDS", "7")

    assert starting.settings().queue_seconds == 7


def test_a_bad_setting_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERGARTEN_QUEUE_SECONDS", "soon")

    with pytest.raises(NotStarted, match=r"TIERGARTEN_QUEUE_SECONDS=soon: .*number.*settings"):
        starting.settings()


def test_a_bad_secret_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERGARTEN_LLAMA_API_KEY", "hunter2")

    with pytest.raises(NotStarted, match=r"TIERGARTEN_LLAMA_API_KEY: .*16") as caught:
        starting.settings()

    assert "hunter2" not in str(caught.value)


def test_a_misspelt_setting_is_logged_with_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERGARTEN_QUEUE_SECOND", "7")

    with capture_logs() as told:
        starting.tell_unknown()

    cure = "write TIERGARTEN_QUEUE_SECONDS"
    found = {"variable": "TIERGARTEN_QUEUE_SECOND", "cure": cure}
    assert told == [{"event": "setting_unknown", "log_level": "warning"} | found]


def test_a_port_that_is_taken_is_refused_with_the_cure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(NotStarted, match=rf"port {port} of 127.0.0.1: .*--port"):
            starting.check_port("127.0.0.1", port)

    starting.check_port("127.0.0.1", port)


def test_what_is_wrong_is_shown_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    NotStarted("one [bold]", "two").show(Console(width=10))

    assert capsys.readouterr().out == "one [bold]\ntwo\n"


def test_the_loop_is_uvloop_s() -> None:
    loop = starting.loop()

    assert isinstance(loop, uvloop.Loop)
    loop.close()
