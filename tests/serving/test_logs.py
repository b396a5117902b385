from __future__ import annotations

import io
import json
import logging
from datetime import datetime
from typing import Any

from serving.logs import configure_logging, with_fields


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_each_record_is_one_line_of_json(log_stream: io.StringIO) -> None:
    logging.getLogger("serving.engine").info('two\nlines and "quotes" %d', 7)
    logging.getLogger("registry.x").warning("slow", extra=with_fields(seconds=2.5))
    logging.getLogger("elsewhere").error("not ours")
    first, second = lines(log_stream)
    assert first["message"] == 'two\nlines and "quotes" 7'
    assert (first["level"], first["logger"]) == ("info", "serving.engine")
    assert datetime.fromisoformat(first["time"]).utcoffset() is not None
    assert (second["message"], second["seconds"]) == ("slow", 2.5)


def test_an_exception_is_in_its_line(log_stream: io.StringIO) -> None:
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError:
        logging.getLogger("serving.x").exception("oh")
    [line] = lines(log_stream)
    assert "ZeroDivisionError: by zero" in line["exception"]


def test_what_was_switched_off_is_on_again() -> None:
    logger = logging.getLogger("serving.was_off")
    logger.disabled = True
    found = io.StringIO()
    configure_logging("info", found)
    logger.info("heard")
    logger.debug("not heard")
    assert [line["message"] for line in lines(found)] == ["heard"]
    for name in ("serving", "registry", "modularizer"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
