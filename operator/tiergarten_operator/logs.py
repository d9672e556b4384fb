"""Logs: event names with fields, as JSON lines or as text for people; never tokens or keys."""

import logging
import sys
from typing import Final

import structlog

from tiergarten_operator.settings import Settings

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}


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
    for name in ("kopf", "kubernetes_asyncio", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
