"""The service's log: a JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any

_OURS = ("serving", "registry", "modularizer")
_FIELDS = "fields"


class JsonFormatter(logging.Formatter):
    """A record as one line: time (UTC), level, logger, message, its fields, and the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def with_fields(**fields: object) -> Mapping[str, Any]:
    """Fields of their own for a record, as ``extra`` of a call that logs.

    Example:
        >>> import logging
        >>> logging.getLogger("serving").warning("slow", extra=with_fields(seconds=2.5))
    """
    return {_FIELDS: fields}


def configure_logging(level: str, stream: IO[str] = sys.stderr) -> None:
    """Write what our own packages log; others' loggers are left as they are.

    Args:
        level: the lowest that is written, such as ``info``.
        stream: where to.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    for name in _OURS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level.upper())
        logger.propagate = False
    for name, found in logging.root.manager.loggerDict.items():
        # BentoML switches off what was there when it set up its own.
        if name.partition(".")[0] in _OURS and isinstance(found, logging.Logger):
            found.disabled = False
