"""Logs: event names with fields, as JSON lines or as text for people; never tokens or keys."""

import logging
import sys
from typing import Final

import structlog

from tiergarten_operator.settings import Settings

RARELY_SECONDS: Final = 10.0
LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class Kopf(logging.Handler):
    """Passes on what kopf says of watches that fail, for it keeps trying and never ends of it.

    Not more often than every ten seconds: with the API server away, all watches fail alike.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last = float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record in our own way."""
        if record.created - self._last >= RARELY_SECONDS:
            self._last = record.created
            structlog.get_logger().warning("watch_failed", reason=record.getMessage())


def configure(settings: Settings) -> None:
    """Set up structlog for the process, and quieten the libraries that log by themselves."""
    console = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    renderer = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[settings.log_level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    for name in ("kubernetes_asyncio", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    kopf = logging.getLogger("kopf")
    kopf.setLevel(logging.ERROR)
    kopf.propagate = False
    kopf.handlers = [Kopf()]
