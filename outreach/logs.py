"""Structured logs on standard error, with one correlation id from request to task to provider."""

import logging
import sys
from uuid import uuid4

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from outreach.settings import get_settings

CORRELATION_HEADER = "X-Request-ID"


def configure_logging() -> None:
    """Set up logging for this process; call it once, at start."""
    level = logging.getLevelNamesMapping().get(get_settings().log_level.upper(), logging.INFO)
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(colors=True) if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(
        level=max(level, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(name)s %(message)s"
    )


def begin_correlation(given: str | None = None) -> str:
    """Start a new unit of work under `given` or a fresh correlation id, and return the id."""
    clear_contextvars()
    # A caller's id goes into logs and headers, so that only plain characters of a sane length are taken.
    usable = given is not None and len(given) <= 64 and given.replace("-", "").isalnum()
    correlation = given if usable and given else uuid4().hex
    bind_contextvars(correlation_id=correlation)
    return correlation


def correlation_id() -> str | None:
    """Return the correlation id of the present unit of work."""
    found = get_contextvars().get("correlation_id")
    return str(found) if found else None
