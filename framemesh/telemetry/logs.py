"""Structured logs: JSON lines when nobody watches, colours on a terminal."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

import structlog

from framemesh.telemetry import tracing
from framemesh.telemetry.redaction import Redaction

CONSOLE = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
"""For terminals. Its own tracebacks would show local variables, images and passwords among them, and take half a
second each, in which an event loop does nothing else."""

Listener = Callable[[Mapping[str, object]], None]
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have a listener called with every line that is written during the block, by whichever thread writes it."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def configure(level: str, *, service: str, stream: TextIO | None = None) -> None:
    """Set up logging for the process. Lines go to the stream, or standard error, each with the service's name.

    Libraries that log through `logging` come out in the same form from WARNING up.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        Redaction(),  # what stands behind it may tell anybody
        _traced,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(service),
        _tell_listeners,
    ]
    stream = stream or sys.stderr
    renderer: structlog.typing.Processor = CONSOLE if stream.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What ends the process is a line like any other."""
    structlog.get_logger().critical("process.failed", exc_info=(kind, error, trace))


def _traced(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Name the trace in which a line was written."""
    event.update(tracing.ids())
    return event


def _named(service: str) -> structlog.typing.Processor:
    def add(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {"service": service, **event}

    return add


def _tell_listeners(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for listener in tuple(_listeners):
        listener(event)
    return event
