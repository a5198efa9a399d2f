"""Log lines: one JSON object each, with the fields that were given and no words of an exception."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from setpoint.runtime.logs import configure

log = logging.getLogger("setpoint.test")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(form: str = "json", level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    configure(level, form, stream)
    return stream


def test_a_line_is_one_json_object() -> None:
    stream = lines()
    log.info("applied %d", 3, extra={"sync": "team/shop", "revision": "main@1a2b3c4", "source": None})
    line = json.loads(stream.getvalue())
    assert line.pop("ts").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "setpoint.test",
        "msg": "applied 3",
        "sync": "team/shop",
        "revision": "main@1a2b3c4",
    }


def test_an_object_that_json_does_not_know_is_written_as_text() -> None:
    stream = lines()
    log.info("x", extra={"key": object, "by": {1: {2}}})
    assert json.loads(stream.getvalue())["key"] == "<class 'object'>"


def test_text_for_people() -> None:
    stream = lines("text")
    log.warning("two\nlines", extra={"sync": "team/shop"})
    assert stream.getvalue().endswith(" warning two\\nlines sync=team/shop\n")
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_exception_is_named_and_located_and_not_quoted(form: str) -> None:
    stream = lines(form)
    try:
        {"a": 1}["hunter2"]
    except KeyError:
        log.exception("failed")
    assert "KeyError" in stream.getvalue()
    assert "test_logs.py" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


def test_levels() -> None:
    stream = lines(level="warning")
    log.info("no")
    logging.getLogger("kopf.objects").info("no")
    log.error("yes")
    assert stream.getvalue().count("\n") == 1
    lines()
    assert not logging.getLogger("kopf.objects").isEnabledFor(logging.INFO)
