"""Logs: JSON lines or text, and what kopf says of watches, but not too often."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from tiergarten_operator import logs
from tiergarten_operator.settings import Settings


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    kopf = logging.getLogger("kopf")
    before = kopf.level, kopf.handlers, kopf.propagate
    yield
    structlog.reset_defaults()
    kopf.level, kopf.handlers, kopf.propagate = before


def test_lines_are_json_and_the_level_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_format="json", log_level="warning"))

    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud", name="a\r\nb\x1b[31m")

    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "loud"
    assert json.loads(line)["name"] == "a\r\nb\x1b[31m"


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_format="console"))

    structlog.get_logger().info("hello")

    assert "hello" in capsys.readouterr().err


def test_of_watches_that_fail_alike_one_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_format="json"))

    for number in range(10):
        logging.getLogger("kopf.watching").error("watch %s failed", number)
        logging.getLogger("kopf.watching").warning("not worth a line")

    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "watch_failed"
    assert json.loads(line)["reason"] == "watch 0 failed"
