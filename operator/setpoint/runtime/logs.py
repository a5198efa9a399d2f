"""Structured logs on stderr: one JSON object a line, or text for people (shell).

A record's `extra` fields become fields of the line: `log.info("applied", extra={"sync": "a/b", "revision": "main@1a2b3c4"})`.
Exceptions appear as their type and place in the code, never with their message, which may quote a Secret.
"""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TextIO

import orjson

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# Their records at info level are one line per request, or quote object bodies.
_LOUD = ("aiohttp.access", "kopf", "asyncio", "kubernetes")


def fields(record: logging.LogRecord) -> dict[str, object]:
    """Return a record as the fields of a line: ts, level, logger, msg, then its extra fields, then the exception."""
    extra = {k: v for k, v in vars(record).items() if k not in _OWN and not k.startswith("_")}
    line: dict[str, object] = {
        "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "msg": record.getMessage(),
        **{k: v for k, v in extra.items() if v is not None},
    }
    if record.exc_info and record.exc_info[1] is not None:
        line |= {"error": type(record.exc_info[1]).__name__, "where": where(record.exc_info[1])}
    return line


def where(error: BaseException, depth: int = 6) -> str:
    """Return the innermost frames in which an exception arose, innermost first."""
    frames = traceback.extract_tb(error.__traceback__)[-depth:]
    return " < ".join(f"{f.name} ({f.filename.rpartition('/')[2]}:{f.lineno})" for f in reversed(frames))


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return orjson.dumps(fields(record), default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class TextFormatter(logging.Formatter):
    """Time, level, message, then `field=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = fields(record)
        head = f"{str(line.pop('ts'))[11:23]} {line.pop('level')!s:7} {line.pop('msg')}"
        line.pop("logger")
        return " ".join([head, *(f"{k}={v}" for k, v in line.items())]).replace("\n", "\\n")


def configure(level: str = "info", form: str = "json", stream: TextIO | None = None) -> None:
    """Send all logs to stderr (or `stream`), in the form `json` or `text`; other libraries' only from warning on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _LOUD:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
