"""YAML scalars as kubectl reads them: go-yaml v2 (YAML 1.1 with changes), then JSON (pure).

Established by reading go.yaml.in/yaml/v2 and sigs.k8s.io/yaml, and held to the real kubectl by a property
test. What surprises: `yes`, `on` and `y` are booleans; `0755` and `0o755` are octal; `1_000` is a number;
`1:20` and timestamps are strings; floats without a fraction become integers.
What differs: integers beyond 64 bits are refused, where kubectl rounds them.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from decimal import Decimal
from functools import lru_cache
from typing import Final

Scalar = str | int | float | bool | None

INT64: Final = range(-(2**63), 2**63)
BEYOND: Final = "an integer beyond 64 bits, which would be rounded; write it with an exponent, or put it in quotes if it is text"
_TAG: Final = "tag:yaml.org,2002:"
_WORDS: Final[dict[str, bool | float | None]] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_INTEGER: Final = re.compile(
    r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[oO]?([0-7]+)|0[bB]([01]+)|(0|[1-9][0-9]*))\Z", re.ASCII
)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", re.ASCII)
_DOT_FLOAT: Final = re.compile(r"\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+(?:_[0-9]+)*)?\Z", re.ASCII)
_SIGNED_BINARY: Final = re.compile(r"0b([-+][01]+)\Z", re.ASCII)
_FLOAT_DIGITS: Final = 18
REMEMBERED: Final = 64
"""The longest text that is remembered with its value; what a tenant wrote may be as long as a file."""
_CLOCK: Final = r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?"
_TIME: Final = re.compile(
    rf"([0-9]{{4}})-([0-9]{{1,2}})-([0-9]{{1,2}})(?:[Tt]{_CLOCK}(?:Z|[-+][0-9]{{2}}:[0-9]{{2}})|[ ]{_CLOCK})?\Z"
)
_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class ScalarError(ValueError):
    """A scalar that has no JSON form; the text never quotes the value, which may be secret."""


def plain(text: str) -> Scalar:
    """Return the value of an unquoted scalar without a tag; ScalarError if it has no JSON form."""
    return _short(text) if len(text) <= REMEMBERED else _plain(text)


@lru_cache(maxsize=8192)
def _short(text: str) -> Scalar:
    return _plain(text)


def _plain(text: str) -> Scalar:
    return number(value) if isinstance(value := _resolve(text), float) else value


def tagged(tag: str, text: str) -> Scalar:
    """Return the value of a scalar with a tag (long form); unknown tags leave the text as it is.

    Raises ScalarError where the text does not fit the tag.
    """
    return number(value) if isinstance(value := _tagged(tag, text), float) else value


def tagged_key(tag: str, text: str) -> str:
    """Return the JSON name that a key with a tag becomes. Raises ScalarError like `tagged`."""
    return _name(_tagged(tag, text))


def _tagged(tag: str, text: str) -> Scalar:
    kind = tag.removeprefix(_TAG)
    if kind == "binary":
        return _binary(text)
    if kind == "timestamp" and not _is_time(text):
        raise ScalarError("the value does not fit its tag !!timestamp")
    if kind not in ("bool", "int", "float", "null"):
        return text
    value = _resolve(text)
    fits = {
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, int | float) and not isinstance(value, bool),
        "null": value is None,
    }
    if not fits[kind]:
        raise ScalarError(f"the value does not fit its tag !!{kind}")
    return float(value) if kind == "float" and isinstance(value, int) else value


def number(value: float) -> int | float:
    """Return a float as its JSON form is read again: integral ones that fit 64 bits are integers."""
    if not math.isfinite(value):
        raise ScalarError("infinity and NaN have no JSON form; put the value in quotes")
    if value.is_integer() and abs(value) < 1e21:
        # The shortest digits, filled up with zeros, as Go prints them; int(value) would be the exact value.
        whole = int(Decimal(repr(value)))
        return whole if whole in INT64 else value
    return value


def key(value: Scalar) -> str:
    """Return the JSON name that a mapping key becomes."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise ScalarError("null cannot be a key; put it in quotes")


def plain_key(text: str) -> str:
    """Return the JSON name that an unquoted key without a tag becomes."""
    return _name(_resolve(text))


def _name(value: Scalar) -> str:
    return _go_float32(value) if isinstance(value, float) else key(value)


def _resolve(text: str) -> Scalar:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == ".":
        return _float(text.replace("_", ""), text) if _DOT_FLOAT.match(text) else text
    if text[0] not in "+-0123456789":
        return text
    bare = text.replace("_", "")
    if found := _INTEGER.match(bare) or _SIGNED_BINARY.match(bare):
        value = _integer(found)
        if value not in INT64:
            raise ScalarError(BEYOND)
        return value
    return _float(bare, text) if _FLOAT.match(bare) else text


def _is_time(text: str) -> bool:
    """Return whether it is a date, or a date and a time, as go-yaml takes them."""
    found = _TIME.match(text)
    if found is None:
        return False
    year, month, day, *clock = (int(part or 0) for part in found.groups())
    # Year 0 is a leap year as year 4 is, and Python begins with 1.
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = _DAYS[month - 1] + (leap and month == 2) if 1 <= month <= 12 else 0
    hours, minutes = max(clock[0], clock[3]), max(*clock[1:3], *clock[4:])
    return 1 <= day <= days and hours < 24 and minutes < 60


def _integer(found: re.Match[str]) -> int:
    if found.re is _SIGNED_BINARY:
        return int(found[1], 2)
    sign, hexadecimal, octal, binary, decimal = found.groups()
    for digits, base in ((hexadecimal, 16), (octal, 8), (binary, 2)):
        if digits is not None:
            return int(sign + digits, base)
    # More digits than this are beyond 64 bits anyway, and Python refuses to convert very many.
    return int(sign + decimal[:25])


def _float(bare: str, text: str) -> float | str:
    value = float(bare)
    return text if math.isinf(value) else value


def _binary(text: str) -> str:
    try:
        data = base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except ValueError:  # of binascii, or for what is not ASCII
        raise ScalarError("the value of !!binary is not base64") from None
    # Go replaces each byte that is not UTF-8 by U+FFFD.
    return re.sub("[\udc80-\udcff]", "\ufffd", data.decode("utf-8", "surrogateescape"))


def _go_float32(value: float) -> str:
    """Print a float key as Go's FormatFloat(value, 'g', -1, 32), which is what go-yaml uses."""
    try:
        single = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        single = float("inf") if value > 0 else float("-inf")
    special = {float("inf"): ".inf", float("-inf"): "-.inf"}
    if math.isnan(single):
        return ".nan"
    return special[single] if single in special else _shortest(single)


def _shortest(single: float) -> str:
    text = next(
        candidate
        for digits in range(_FLOAT_DIGITS)
        if struct.pack("<f", float(candidate := f"{single:.{digits}e}")) == struct.pack("<f", single)
    )
    # 'g' with the shortest precision decides as if the precision were 6.
    return f"{Decimal(text):f}" if -4 <= int(text.partition("e")[2]) < 6 else text
