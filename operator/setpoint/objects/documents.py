"""Files of manifests as Kubernetes objects (pure): YAML or JSON text in, one `Document` for each object out.

Types are those that kubectl gives (`objects.scalars`). Lists are expanded. What kubectl or the API server would
silently take for something else (a duplicate key, a name that is a number) is an error with file and line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as declared
from typing import Any, Final, NoReturn

from setpoint.api.budgets import DEFAULTS, Budgets, setting
from setpoint.api.reasons import Problem, Reason, well_formed
from setpoint.objects import scalars
from setpoint.objects import yaml as yamlstream
from setpoint.objects.identity import Manifest, ObjectId

_LIST_DEPTH: Final = 8
_STRINGS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_WRITER: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))
_ORDERED: Final = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, separators=(",", ":"), sort_keys=True
)
_VALUES: Final = ",[{:"
"""Characters of JSON of which each stands before one value."""


@dataclass(frozen=True, slots=True)
class Document:
    """One object: the manifest (never mutated), the file it is from, which document of the file, from 1, and
    its first line there, from 1."""

    manifest: Manifest
    file: str
    index: int
    line: int

    @property
    def where(self) -> str:
        """The place for a message: `file:line`, or the file alone where a renderer made the object."""
        return well_formed(f"{self.file}:{self.line}" if self.line else self.file)


@dataclass(frozen=True, slots=True)
class Loaded:
    """The objects of a file, in its order, how many documents are no objects and were skipped, and all its `values`."""

    documents: tuple[Document, ...]
    skipped: int = 0
    values: int = declared(default=0, compare=False)


def load(data: bytes, file: str) -> list[Document]:
    """Return the objects of a file; `read` also tells how many documents were skipped."""
    return list(read(data, file).documents)


def read(data: bytes, file: str, budgets: Budgets = DEFAULTS) -> Loaded:
    """Return the objects of a file of YAML or JSON documents; `file` is its path for messages.

    Empty documents are nothing; those with neither apiVersion nor kind are counted as skipped.
    Raises Problem: RenderFailed or TooLarge, with file, line and what to do.
    """
    documents: list[Document] = []
    skipped = values = 0
    for index, parsed in enumerate(parse(data, file, budgets), 1):
        values += parsed.values
        if parsed.value is None:
            continue
        place = _Place(file, index, parsed.line, budgets)
        if not isinstance(parsed.value, dict):
            place.fail(f"document {index} is {_what(parsed.value)}, not an object")
        if _absent(parsed.value, "apiVersion") and _absent(parsed.value, "kind"):
            skipped += 1
            continue
        for made in _objects(parsed.value, place, parsed.lines, 0):
            documents.append(made)
            budgets.check("max_objects", len(documents), file, counted=False)
    return Loaded(tuple(documents), skipped, values)


def is_well_formed(data: bytes) -> bool:
    """Return whether a text is YAML (JSON is, too), whatever its values are, and however many."""
    return yamlstream.is_well_formed(data.removeprefix(b"\xef\xbb\xbf"))


def parse(
    data: bytes, file: str, budgets: Budgets = DEFAULTS, *, ended: bool = True
) -> Iterator[yamlstream.Parsed]:
    """Return the documents of YAML or JSON text as values, whatever they are; kubectl reads JSON first, too.

    `ended`: whether the last line of YAML has a line feed, also if the file has none there (kubectl adds it).
    """
    text = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text.decode()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise Problem(
            Reason.RenderFailed, f"{file}:{line}: the file is not UTF-8 text; save it as UTF-8"
        ) from None
    if text.lstrip()[:1] == b"{" and (stream := _json(text.decode(), file, budgets)) is not None:
        return iter(stream)
    return yamlstream.parse(text, file, budgets, ended=ended)


def json_text(value: Any, *, ordered: bool = False) -> str:
    """Return a value as JSON without blanks; `ordered`: with the keys of each mapping sorted.

    MemoryError where there is no room for it: a reader's memory is limited, and there orjson ends the process (SIGSEGV).
    """
    return (_ORDERED if ordered else _WRITER).encode(value)


def json_size(value: Any) -> int:
    """Return how many bytes a value has as JSON without blanks; MemoryError where there is no room for it."""
    text = json_text(value)
    return len(text) if text.isascii() else len(text.encode())


@dataclass(frozen=True, slots=True)
class _Place:
    file: str
    index: int
    line: int
    budgets: Budgets

    def fail(self, text: str, reason: Reason = Reason.RenderFailed) -> NoReturn:
        raise Problem(reason, f"{self.file}:{self.line}: {text}")


def _objects(value: dict[str, Any], place: _Place, lines: dict[int, int], depth: int) -> Iterator[Document]:
    for field in ("apiVersion", "kind"):
        if _absent(value, field):
            place.fail(f"the object has no {field}; add it")
        if not isinstance(value[field], str):
            place.fail(f"{field} is {_what(value[field])}; put it in quotes")
    if _is_list(value):
        yield from _items(value, place, lines, depth)
    else:
        _check(value, place)
        yield Document(value, place.file, place.index, place.line)


def _is_list(value: dict[str, Any]) -> bool:
    """Distinguish a List or a `*List` of objects from an object whose kind merely ends so (it has a name)."""
    kind: str = value["kind"]
    named = isinstance(meta := value.get("metadata"), dict) and meta.get("name")
    return kind.endswith("List") and not named and ("items" in value or kind == "List")


def _items(value: dict[str, Any], place: _Place, lines: dict[int, int], depth: int) -> Iterator[Document]:
    items = value.get("items") or []
    if not isinstance(items, list) or depth > _LIST_DEPTH:
        place.fail(f"the items of {value['kind']} are not a list of objects")
    inherited = {"apiVersion": value["apiVersion"], "kind": value["kind"].removesuffix("List")}
    for number, item in enumerate(items, 1):
        where = _Place(place.file, place.index, lines.get(id(item), place.line), place.budgets)
        if not isinstance(item, dict):
            where.fail(f"item {number} of {value['kind']} is {_what(item)}, not an object")
        # The API server leaves both out in the items of a typed list.
        typed = {**inherited, **item} if inherited["kind"] else item
        yield from _objects(typed, where, lines, depth + 1)


def _check(value: dict[str, Any], place: _Place) -> None:
    kind, meta = value["kind"], value.get("metadata")
    if not isinstance(meta, dict) or _absent(meta, "name"):
        if isinstance(meta, dict) and meta.get("generateName"):
            place.fail(f"{kind} has metadata.generateName, which is not supported; give it a metadata.name")
        place.fail(f"{kind} has no metadata.name; add it")
    for field in ("name", "namespace"):
        if not isinstance(text := meta.get(field) or "", str):
            place.fail(f"metadata.{field} of {kind} is {_what(text)}; put it in quotes")
    label = f"{kind}/{meta['name']}"
    for field in ("labels", "annotations"):
        _check_strings(meta.get(field) or {}, f"metadata.{field}", label, place)
    size, most = json_size(value), place.budgets.max_object_size
    if size > most:
        place.fail(
            f"{label} has {size:,} bytes, more than the {most:,} that the API server takes ({setting('max_object_size')}); split it",
            Reason.TooLarge,
        )


def _check_strings(values: Any, field: str, label: str, place: _Place) -> None:
    if not isinstance(values, dict):
        place.fail(f"{field} of {label} is {_what(values)}, not a mapping")
    for name, text in values.items():
        if not isinstance(text, str) and text is not None:
            place.fail(f"{field} of {label}: {name} is {_what(text)}; put it in quotes")


def _absent(value: dict[str, Any], field: str) -> bool:
    return value.get(field) in (None, "")


def _what(value: Any) -> str:
    words = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a mapping",
    }
    return words.get(type(value), "null")


def _json(text: str, file: str, budgets: Budgets) -> list[yamlstream.Parsed] | None:
    """Return the values of concatenated JSON, or None if it is none: YAML can begin with a brace as well."""
    decoder = json.JSONDecoder(
        object_pairs_hook=_pairs, parse_float=_json_float, parse_int=_json_int, parse_constant=_refuse
    )
    found: list[yamlstream.Parsed] = []
    line, last = 1, 0
    at, values = _blank(text, 0), _count(text, budgets.max_yaml_values)
    budgets.check("max_yaml_values", values, file)
    try:
        while at < len(text):
            value, end = decoder.raw_decode(text, at)
            line += text.count("\n", last, at)
            budgets.check("max_depth", _levels(value, budgets.max_depth), f"{file}:{line}", counted=False)
            found.append(yamlstream.Parsed(_well_formed(value, text), line, {}, values if not found else 0))
            last, at = at, _blank(text, end)
    except (json.JSONDecodeError, _DuplicateKeyError):
        # The YAML parser tells the line of a duplicate key.
        return None
    except RecursionError:
        budgets.check("max_depth", budgets.max_depth + 1, file, counted=False)
    except scalars.ScalarError as error:
        raise Problem(Reason.RenderFailed, f"{file}:{text.count(chr(10), 0, at) + 1}: {error}") from None
    return found


def _count(text: str, most: int) -> int:
    """Return how many values JSON has at most, and exactly so if that is more than `most`."""
    if sum(map(text.count, _VALUES)) <= most:
        return sum(map(text.count, _VALUES))
    bare = _STRINGS.sub("", text)
    return sum(map(bare.count, _VALUES))


def _levels(value: Any, most: int) -> int:
    """Return the levels of nesting in a value, counted to one more than `most`."""
    level, found = [value], 0
    while found <= most and (level := [each for each in level if isinstance(each, dict | list)]):
        found += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return found


class _DuplicateKeyError(Exception):
    """A JSON object has one name twice."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(value := dict(pairs)) < len(pairs):
        raise _DuplicateKeyError
    return value


def _json_float(text: str) -> int | float:
    return scalars.number(float(text))


def _json_int(text: str) -> int:
    # Longer ones fit no 64 bits, and Python refuses to convert very many digits.
    if len(text) < 25 and (value := int(text)) in scalars.INT64:
        return value
    raise scalars.ScalarError(scalars.BEYOND)


def _refuse(_: str) -> NoReturn:
    raise scalars.ScalarError("infinity and NaN have no JSON form; put the value in quotes")


def _well_formed(value: Any, text: str) -> Any:
    """Replace lone surrogates, which have no UTF-8 form, by U+FFFD as Go does."""
    return _clean(value) if "\\ud" in text or "\\uD" in text else value


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in value)
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(name): _clean(item) for name, item in value.items()}
    return value


def _blank(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


Places = Mapping[ObjectId, Document]
"""By identity, as rendered, a document that tells where the object comes from."""
