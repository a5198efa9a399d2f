"""Other values that a field may take, by its type and by what its value looks like (pure)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

from tests.compat.schema import Field

_QUANTITY = re.compile(r"(\d+)([a-zA-Z]*)")
_DATE = re.compile(r"\d{4}(-\d\d-\d\dT.*)")
_IP = re.compile(r"((?:\d+\.){3})(\d+)(:\d+)?")
_NETWORK = re.compile(r"(\d+\.\d+\.)(\d+)(\..*/\d+)")


def candidates(field: Field, value: Any) -> list[Any]:
    """Return other values for a field, the likeliest to be accepted first."""
    found = [each for each in _candidates(field, value) if each != value or type(each) is not type(value)]
    return [each for i, each in enumerate(found) if each not in found[:i]]


def _candidates(field: Field, value: Any) -> Iterator[Any]:
    yield from (each for each in field.enum if each not in {"", value})
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value - 1, value * 2, 1, 0)
    elif isinstance(value, str):
        yield from _texts(field, value)
    elif isinstance(value, dict):
        yield {**value, "more": "two"}
    elif isinstance(value, list):
        yield [*value, "two"]


def _texts(field: Field, value: str) -> Iterator[str]:
    if field.type == "byte":
        yield base64.b64encode(base64.b64decode(value, validate=False) + b"2").decode()
    if field.type in {"quantity", "int-or-string"} and (found := _QUANTITY.fullmatch(value)):
        yield f"{int(found[1]) + 1}{found[2]}"
    if value.endswith("%"):
        yield f"{int(value[:-1]) + 1}%"
    if found := _DATE.fullmatch(value):
        yield "2026" + found[1].replace("01T", "02T")
    if found := _IP.fullmatch(value):
        yield f"{found[1]}{int(found[2]) + 1}{found[3] or ''}"
    if found := _NETWORK.fullmatch(value):
        yield f"{found[1]}{int(found[2]) + 1}{found[3]}"
    if value.isdecimal():
        yield str(int(value) + 1)
    yield from (f"{value}x", f"{value}-x", f"x{value}", f"x-{value}")
