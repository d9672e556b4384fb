"""Logs are one record a line, whatever is in them."""

import json

import pytest
import structlog

from tiergarten_router import logs
from tiergarten_router.settings import Settings


def test_a_record_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_format="json", log_level="warning"))

    structlog.get_logger().warning("event_name", field="a\r\nb\x1b[31m\u2028c")
    structlog.get_logger().info("not_shown")

    written = capsys.readouterr().err
    assert len(written.splitlines()) == 1 or "\u2028" not in written
    assert json.loads(written)["field"] == "a\r\nb\x1b[31m\u2028c"
    assert "not_shown" not in written


def test_text_for_people_names_the_event(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_format="console"))

    structlog.get_logger().warning("event_name", field=1)

    assert "event_name" in capsys.readouterr().err
