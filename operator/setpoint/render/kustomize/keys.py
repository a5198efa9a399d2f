"""Brings the keys of a kustomization into their one form, and refuses ambiguous ones (pure).

kustomize turns YAML into JSON with sorted keys and decodes it without regard to case, including non-ASCII forms. So of
two keys for one field the last one counts. Here no field has two keys, so that nobody has to know this rule.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NoReturn

import yaml

from setpoint.render.kustomize.types import KUSTOMIZATION, Many, Shape, Struct

MOST_TEXT: Final = 2**20
"""Characters of one kustomization; real ones have some thousand."""

Place = tuple[str | int, ...]
"""Keys and positions that lead to a value, as they were written."""

_FOLD: Final = str.maketrans(f"{string.ascii_uppercase}\u017f\u212a", f"{string.ascii_lowercase}sk")
"""How Go compares names: simple case folding, in which two characters beyond ASCII are letters of it."""
_NOT_PLAIN: Final = re.compile("[\x7f-\uffff]")


class KeyProblem(Exception):
    """A key that is no field, or is one twice; `place` leads to it, the text is for people."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(text)
        self.place = place


def canonical(value: Any, shape: Shape = KUSTOMIZATION, place: Place = ()) -> Any:
    """Return the value with every key of a struct as its field is called. Raises KeyProblem.

    What is not of the shape is left for kustomize to refuse by its type.
    """
    if isinstance(shape, Many) and isinstance(value, list):
        return [canonical(each, shape.of, (*place, number)) for number, each in enumerate(value)]
    if not isinstance(shape, Struct) or not isinstance(value, dict):
        return value
    fields = {_fold(name): name for name in shape.fields}
    made: dict[str, Any] = {}
    for key, each in value.items():
        field = key if key in shape.fields else _taken(key, value, fields, place)
        made[field] = canonical(each, shape.fields[field], (*place, key))
    return made


def text_of(content: Mapping[str, Any]) -> bytes:
    """Return the content as JSON that every reader of YAML takes for the same values.

    Some characters are line breaks in YAML, or forbidden, and not in JSON: all beyond ASCII are written as escapes,
    but for those beyond 16 bits, whose JSON form YAML has not. Raises KeyProblem for what is too large.
    """
    size, parts = 0, []
    for part in json.JSONEncoder(ensure_ascii=False, allow_nan=False).iterencode(content):
        # A few aliases can stand for gigabytes, so it is counted while it is written.
        size += len(part)
        if size > MOST_TEXT:
            raise KeyProblem((), f"it is larger than {MOST_TEXT >> 20} MiB once its aliases are resolved")
        parts.append(part)
    text = "".join(parts)
    return _NOT_PLAIN.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def line_of(data: bytes, place: Place) -> int:
    """Return the line, from 1, of a key in YAML or JSON that could be read; of what is around it if it was merged in."""
    line, node = 1, None
    with suppress(yaml.YAMLError):
        node = next(yaml.compose_all(data.removeprefix(b"\xef\xbb\xbf"), Loader=yaml.CSafeLoader), None)
    for step in place:
        found = _step(node, step)
        if found is None:
            break
        line, node = found
    return line


def _fold(key: str) -> str:
    return key.translate(_FOLD)


def _taken(key: str, value: Mapping[str, Any], fields: Mapping[str, str], place: Place) -> str:
    """Return the field that a key of other letters is; KeyProblem if it is none, or not this alone."""
    field, at = fields.get(_fold(key)), (*place, key)
    if field is None:
        _fail(at, f"there is no field {_quoted(key)} in {_where(place)}")
    other = next((each for each in value if each != key and _fold(each) == _fold(key)), None)
    if other is not None:
        both = f"{_quoted(key)} and {_quoted(other)}"
        _fail(at, f"{both} in {_where(place)} are one field to kustomize; keep one, as {field!r}")
    if not key.isascii():
        _fail(
            at,
            f"{_quoted(key)} in {_where(place)} is not {field!r}, for which kustomize takes it; write that",
        )
    return field


def _fail(place: Place, text: str) -> NoReturn:
    raise KeyProblem(place, text)


def _quoted(key: str) -> str:
    """Quote a key for a message: what looks like another letter is written as an escape."""
    return f"{key[:100]!a}"


def _where(place: Place) -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step[:100]}" for step in place)
    return f"{steps[1:]!a} of a kustomization" if steps else "a kustomization"


def _step(node: Any, step: str | int) -> tuple[int, Any] | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line + 1, node.value[step]
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, value in reversed(node.value):
        if getattr(key, "value", None) == step:
            return key.start_mark.line + 1, value
    merged = [value for key, value in node.value if getattr(key, "value", None) == "<<"]
    nodes = [
        each
        for value in merged
        for each in (value.value if isinstance(value, yaml.SequenceNode) else [value])
    ]
    return next((found for each in nodes if (found := _step(each, step))), None)
