"""Files of manifests as Kubernetes objects (pure): YAML or JSON text in, one `Document` for each object out.

Types are those that kubectl gives (`objects.scalars`). Lists are expanded. What kubectl or the API server would
silently take for something else (a duplicate key, a name that is a number) is an error with file and line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import orjson

from setpoint.api.reasons import Problem, Reason, well_formed
from setpoint.objects import scalars
from setpoint.objects import yaml as yamlstream
from setpoint.objects.identity import Manifest, ObjectId

MAX_OBJECT_BYTES: Final = 1_572_864
"""etcd's default limit of a request, --max-request-bytes, which is the API server's limit of an object."""
_LIST_DEPTH: Final = 8


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
    """The objects of a file, in its order, and how many documents are no objects and were skipped."""

    documents: tuple[Document, ...]
    skipped: int = 0


def load(data: bytes, file: str) -> list[Document]:
    """Return the objects of a file; `read` also tells how many documents were skipped."""
    return list(read(data, file).documents)


def read(data: bytes, file: str) -> Loaded:
    """Return the objects of a file of YAML or JSON documents; `file` is its path for messages.

    Empty documents are nothing; those with neither apiVersion nor kind are counted as skipped.
    Raises Problem: RenderFailed or TooLarge, with file, line and what to do.
    """
    documents: list[Document] = []
    skipped = 0
    for index, parsed in enumerate(parse(data, file), 1):
        if parsed.value is None:
            continue
        place = _Place(file, index, parsed.line)
        if not isinstance(parsed.value, dict):
            place.fail(f"document {index} is {_what(parsed.value)}, not an object")
        if _absent(parsed.value, "apiVersion") and _absent(parsed.value, "kind"):
            skipped += 1
            continue
        documents += _objects(parsed.value, place, parsed.lines, 0)
    return Loaded(tuple(documents), skipped)


def parse(data: bytes, file: str, *, ended: bool = True) -> Iterator[yamlstream.Parsed]:
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
    if text.lstrip()[:1] == b"{" and (stream := _json(text.decode(), file)) is not None:
        return iter(stream)
    return yamlstream.parse(text, file, ended=ended)


def too_large(manifest: dict[str, Any]) -> int:
    """Return the size of the object in bytes if it is more than the API server takes, else 0."""
    size = len(orjson.dumps(manifest))
    return size if size > MAX_OBJECT_BYTES else 0


@dataclass(frozen=True, slots=True)
class _Place:
    file: str
    index: int
    line: int

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
        where = _Place(place.file, place.index, lines.get(id(item), place.line))
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
    try:
        size = too_large(value)
    except orjson.JSONEncodeError:
        place.fail(f"{label} has more than {yamlstream.MAX_DEPTH} levels of nesting")
    if size:
        place.fail(
            f"{label} has {size:,} bytes, more than the {MAX_OBJECT_BYTES:,} that the API server takes; split it",
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


def _json(text: str, file: str) -> list[yamlstream.Parsed] | None:
    """Return the values of concatenated JSON, or None if it is none: YAML can begin with a brace as well."""
    decoder = json.JSONDecoder(
        object_pairs_hook=_pairs, parse_float=_json_float, parse_int=_json_int, parse_constant=_refuse
    )
    found: list[yamlstream.Parsed] = []
    at = _blank(text, 0)
    try:
        while at < len(text):
            value, end = decoder.raw_decode(text, at)
            found.append(yamlstream.Parsed(_well_formed(value, text), text.count("\n", 0, at) + 1, {}))
            at = _blank(text, end)
    except (json.JSONDecodeError, _DuplicateKeyError):
        # The YAML parser tells the line of a duplicate key.
        return None
    except (RecursionError, scalars.ScalarError):
        line = text.count("\n", 0, at) + 1
        raise Problem(
            Reason.RenderFailed,
            f"{file}:{line}: a number that JSON cannot hold, or more than {yamlstream.MAX_DEPTH} levels of nesting",
        ) from None
    return found


class _DuplicateKeyError(Exception):
    """A JSON object has one name twice."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(value := dict(pairs)) < len(pairs):
        raise _DuplicateKeyError
    return value


def _json_float(text: str) -> int | float:
    return scalars.number(float(text))


def _json_int(text: str) -> int | float:
    # Longer ones fit no 64 bits, and Python refuses to convert very many digits.
    if len(text) < 25 and (value := int(text)) in scalars.INT64:
        return value
    return _json_float(text)


def _refuse(_: str) -> NoReturn:
    raise scalars.ScalarError


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
