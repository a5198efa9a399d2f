"""Reads a YAML stream within bounds: libyaml's events, typed as kubectl types them (pure).

Built from events, not from PyYAML's nodes and constructors: half the time, and the bounds are checked while
the values grow. Aliases share one value, so that only what is written out later could explode: what they stand
for counts here as if it were written out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, NoReturn

import yaml
from yaml._yaml import CParser

from setpoint.api.budgets import DEFAULTS, Budget, Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.objects import scalars

_TEXT_SHIFT: Final = 6
"""A text counts as one more value for each 64 characters, where aliases repeat it."""
_SPECIAL: Final = frozenset("+-0123456789.yYnNtTfFoO~")
_MERGE: Final = "tag:yaml.org,2002:merge"
_NO_KEY: Final = object()
_LATER: Final = object()
"""The value of a scalar that stands as a key, until somebody asks for it: it may have none."""
_SEPARATOR: Final = re.compile(rb"^---([^\n]*)", re.MULTILINE)
_ALONE: Final = re.compile(
    rb"(?:[ \t]++#(?!.*(?:\xc2\x85|\xe2\x80[\xa8\xa9]))[^\x00-\x08\x0a-\x1f\x7f]*+|[ \t]*+)\r?"
)
"""What may stand behind a separator: blanks, and a comment that no other line break ends."""
_CONTENT: Final = re.compile(rb"^(?!---\n) *+[^ #\n]|[^\t\n -~]", re.MULTILINE)
"""What a part has that is more than its separator, blanks and plain comments."""
_INNER_MARK: Final = re.compile(rb"(?:\A|[\n\r]|\xc2\x85|\xe2\x80[\xa8\xa9])\xef\xbb\xbf")
"""A byte order mark at the beginning of a line: libyaml skips it, and go-yaml takes it for text."""
_MORE: Final = "something follows the end of the document, which kubectl would drop; put `---` on a line of its own before it"


@dataclass(frozen=True, slots=True)
class Parsed:
    """One document of a stream: its value, the line where it starts, and the lines of mappings in lists of
    its first level (by `id` of the mapping), which is where the items of a List are. `values`: how many it has."""

    value: Any
    line: int
    lines: dict[int, int]
    values: int = 0


@dataclass(frozen=True, slots=True)
class _Size:
    """What a value counts: `values` in it, aliases resolved, and its levels."""

    values: int
    levels: int


_SCALAR: Final = _Size(1, 0)


class _Scalar(NamedTuple):
    """How a scalar is written; smaller than its event, as there can be many."""

    tag: str | None
    plain: bool
    text: str


@dataclass(slots=True)
class _Frame:
    """A mapping or sequence that is being built; `size` counts the values in it, aliases resolved."""

    value: Any
    line: int
    anchor: str | None
    size: int = 1
    levels: int = 1
    key: Any = _NO_KEY
    merge: bool = False
    flow: bool = False
    merged: set[str] = field(default_factory=set)


def parse(data: bytes, file: str, budgets: Budgets = DEFAULTS, *, ended: bool = True) -> Iterator[Parsed]:
    """Return the documents of a YAML stream in UTF-8; empty ones have the value None.

    kubectl cuts the text at lines that begin with `---` before it reads any YAML, and reads one document of each part.
    Here the cuts are the same, and more than one document in a part is an error. `ended`: whether the last line gets a
    line feed if it has none, as for kubectl; kustomize gives none to a kustomization.
    Raises Problem, RenderFailed or TooLarge, that names `file` and line.
    """
    values = 0
    for part, line in _parts(data, file):
        text = part.replace(b"\r\n", b"\n")
        if _CONTENT.search(text):
            ending = b"\n" if ended and not text.endswith(b"\n") else b""
            made = _document(_Text(text + ending, line, file), budgets, values)
        else:
            # Millions of parts fit into a file, and a parser for each would take long.
            made = Parsed(None, line + 1, {}, 1)
            budgets.check("max_yaml_values", values + 1, f"{file}:{line + 1}", counted=False)
        values += made.values
        yield made


def _parts(data: bytes, file: str) -> Iterator[tuple[bytes, int]]:
    """Yield what stands between separators, each with a plain one before it, and the number of lines before that."""
    start = line = 0
    mark = b""
    for found in _SEPARATOR.finditer(data):
        at, end = found.start(), found.end() + 1
        lines = data.count(b"\n", start, at)
        if not _ALONE.fullmatch(found[1]):
            raise Problem(
                Reason.RenderFailed,
                f"{file}:{line + lines + 1}: `---` has to be alone on its line, but for a comment",
            )
        # What stands before the first separator is no document if it is comments alone: people do not count it.
        if at > start and (mark or _CONTENT.search(data[:at].replace(b"\r", b""))):
            yield mark + data[start:at], line - bool(mark)
        line, start, mark = line + lines + 1, end, b"---\n"
    if start < len(data):
        yield mark + data[start:], line - bool(mark)


def _document(place: _Text, budgets: Budgets, before: int) -> Parsed:
    """Return the document of a part; `before`: how many values the parts before it have."""
    part = place.data
    if found := _INNER_MARK.search(part):
        place.fail(part.count(b"\n", 0, found.end()), "a byte order mark begins the line; remove it")
    made: Parsed | None = None
    parser = CParser(part)
    try:
        while not isinstance(event := parser.get_event(), yaml.StreamEndEvent):
            if not isinstance(event, yaml.DocumentStartEvent):
                continue
            if made is not None:
                place.fail(event.start_mark.line if event.start_mark else 0, _MORE)
            made = _Builder(place, budgets, before).build(parser.get_event)
    except yaml.MarkedYAMLError as error:
        if made is not None and error.problem_mark:
            place.fail(error.problem_mark.line, _MORE)
        _syntax(error, place)
    except yaml.reader.ReaderError as error:
        place.fail(
            part.count(b"\n", 0, max(error.position, 0)), "a control character stands in the text; remove it"
        )
    finally:
        parser.dispose()
    return made or Parsed(None, place.before + 1, {})


def is_well_formed(data: bytes) -> bool:
    """Return whether a text is a YAML stream, without making values of it."""
    parser = CParser(data)
    try:
        while not isinstance(parser.get_event(), yaml.StreamEndEvent):
            continue
    except yaml.YAMLError:
        return False
    finally:
        parser.dispose()
    return True


@dataclass(frozen=True, slots=True)
class _Text:
    """A part of a file, and how many lines are before it."""

    data: bytes
    before: int
    file: str

    def fail(self, line: int, text: str) -> NoReturn:
        """Raise a Problem at a line of the part, from 0."""
        raise Problem(Reason.RenderFailed, f"{self.file}:{self.before + line + 1}: {text}") from None


def _syntax(error: yaml.MarkedYAMLError, place: _Text) -> NoReturn:
    mark = error.problem_mark or error.context_mark
    first = (error.context_mark or mark).line if mark else 0
    line = mark.line if mark else 0
    rows = place.data.split(b"\n", line + 1)[: line + 1]
    text = error.problem or error.context or "the YAML cannot be read"
    template = next((row for row in range(first, len(rows)) if b"{{" in rows[row]), None)
    if template is not None:
        line, text = (
            template,
            "this is a template, not YAML; render it first, or list the file in spec.exclude",
        )
    elif "cannot start any token" in text and mark and rows[-1][: mark.column + 1].endswith(b"\t"):
        text = "a tab stands where spaces are needed; indent with spaces"
    place.fail(line, text)


class _Builder:
    """Builds the value of one document; `before`: how many values the documents before it have."""

    def __init__(self, place: _Text, budgets: Budgets, before: int) -> None:
        self.place = place
        self.anchors: dict[str, tuple[Any, _Size]] = {}
        self.scalars: dict[str, _Scalar] = {}
        """By anchor, how a scalar is written: as a key it is read in another way than as a value."""
        self.names: dict[str, Any] = {}
        self.stack: list[_Frame] = []
        self.lines: dict[int, int] = {}
        self._budgets, self._before, self._most = budgets, before, budgets.max_yaml_values
        self._depth = budgets.max_depth

    def build(self, next_event: Callable[[], Any]) -> Parsed:
        """Consume the events up to the end of the document."""
        root: Any = None
        first: int | None = None
        values = self._before
        while (kind := type(event := next_event())) is not yaml.DocumentEndEvent:
            if first is None:
                first = self.place.before + event.start_mark.line + 1
            if kind is yaml.ScalarEvent:
                value, size = self._scalar(event)
                values += 1
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._open({} if kind is yaml.MappingStartEvent else [], event)
                values += 1
                size = None
            elif kind is yaml.AliasEvent:
                value, size = self._alias(event)
                values += size.values
            else:
                value, size = self._close()
            if values > self._most:
                self._over("max_yaml_values", values, event)
            if size is None:
                continue
            if self.stack:
                self._add(value, size, event)
            else:
                root = value
        return Parsed(root, first or self.place.before + 1, self.lines, values - self._before)

    def _over(self, budget: Budget, figure: int, event: Any) -> None:
        where = f"{self.place.file}:{self.place.before + event.start_mark.line + 1}"
        self._budgets.check(budget, figure, where, counted=False)

    def _fail(self, event: Any, text: str) -> NoReturn:
        self.place.fail(event.start_mark.line, text)

    def _open(self, value: Any, event: Any) -> None:
        if len(self.stack) >= self._depth:
            self._over("max_depth", len(self.stack) + 1, event)
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is _NO_KEY:
            self._fail(event, "a mapping or a list cannot be a key")
        if len(self.stack) == 2:
            self.lines[id(value)] = self.place.before + event.start_mark.line + 1
        # Until it is closed, the anchor stands for nothing; not for what it stood for before, either.
        self._forget(event.anchor)
        self.stack.append(_Frame(value, event.start_mark.line, event.anchor, flow=event.flow_style))

    def _forget(self, anchor: str | None) -> None:
        """Take back what an anchor stands for, and will: it is written anew, and the last one that begins counts."""
        if anchor is not None:
            for known in (self.anchors, self.scalars, self.names):
                known.pop(anchor, None)
            for frame in self.stack:
                frame.anchor = None if frame.anchor == anchor else frame.anchor

    def _close(self) -> tuple[Any, _Size]:
        frame = self.stack.pop()
        size = _Size(frame.size, frame.levels)
        if frame.anchor is not None:
            self.anchors[frame.anchor] = frame.value, size
        return frame.value, size

    def _alias(self, event: Any) -> tuple[Any, _Size]:
        found = self.anchors.get(event.anchor)
        if found is None:
            inside = any(frame.anchor == event.anchor for frame in self.stack)
            self._fail(
                event,
                f"anchor {event.anchor!r} contains itself"
                if inside
                else f"no anchor {event.anchor!r} before",
            )
        if found[0] is _LATER:
            found = self.anchors[event.anchor] = self._read(event, self.scalars[event.anchor]), found[1]
        if len(self.stack) + found[1].levels > self._depth:
            self._over("max_depth", len(self.stack) + found[1].levels, event)
        return found

    def _scalar(self, event: Any) -> tuple[Any, _Size]:
        text: str = event.value
        frame = self.stack[-1] if self.stack else None
        is_key = frame is not None and frame.key is _NO_KEY and isinstance(frame.value, dict)
        if event.tag is not None and not text and not event.style and frame is not None and frame.flow:
            # go-yaml takes the comma behind it for a part of the tag.
            self._fail(event, "a tag in brackets has no value behind it; write one, such as ''")
        scalar = _Scalar(event.tag, event.implicit[0], text)
        value = self._read(event, scalar, is_key=is_key)
        size = _Size(1 + (len(text) >> _TEXT_SHIFT), 0) if len(text) >> _TEXT_SHIFT else _SCALAR
        if event.anchor is not None:
            self._forget(event.anchor)
            self.anchors[event.anchor] = _LATER if is_key else value, size
            self.scalars[event.anchor] = scalar
        if is_key and frame is not None:
            frame.merge = text == "<<" and (event.implicit[0] or event.tag == _MERGE)
        return value, size

    def _name(self, event: Any) -> Any:
        """Return what an alias of a scalar is as a key; once, as it can be long and stand at many places."""
        if event.anchor not in self.names:
            self.names[event.anchor] = self._read(event, self.scalars[event.anchor], is_key=True)
        return self.names[event.anchor]

    def _read(self, event: Any, scalar: _Scalar, *, is_key: bool = False) -> Any:
        """Return the value of a scalar that stands at the event, or its name if it is a key."""
        try:
            return self._typed(scalar, is_key)
        except scalars.ScalarError as error:
            self._fail(event, str(error))

    @staticmethod
    def _typed(scalar: _Scalar, is_key: bool) -> Any:
        tag, plain, text = scalar
        if tag is not None:
            return (scalars.tagged_key if is_key else scalars.tagged)(tag, text)
        if not plain or (text and text[0] not in _SPECIAL):
            return text
        return scalars.plain_key(text) if is_key else scalars.plain(text)

    def _add(self, value: Any, size: _Size, event: Any) -> None:
        frame = self.stack[-1]
        frame.size += size.values
        if size.levels >= frame.levels:
            frame.levels = size.levels + 1
        if isinstance(frame.value, list):
            frame.value.append(value)
        elif frame.key is _NO_KEY:
            frame.key = self._key(frame, value, event)
        elif frame.merge:
            self._merge(frame, value, event)
            frame.key, frame.merge = _NO_KEY, False
        else:
            frame.value[frame.key] = value
            frame.key = _NO_KEY

    def _key(self, frame: _Frame, value: Any, event: Any) -> Any:
        if frame.merge:
            return value
        if isinstance(value, dict | list):
            self._fail(event, "a mapping or a list cannot be a key")
        if isinstance(event, yaml.AliasEvent) and event.anchor in self.scalars:
            value = self._name(event)
        try:
            name = value if isinstance(value, str) else scalars.key(value)
        except scalars.ScalarError as error:
            self._fail(event, str(error))
        if name in frame.value and name not in frame.merged:
            self._fail(event, f"duplicate key {name!r}")
        frame.merged.discard(name)
        return name

    def _merge(self, frame: _Frame, value: Any, event: Any) -> None:
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            self._fail(event, "`<<` takes a mapping or a list of mappings")
        # As in go-yaml, a merge wins over keys that stand before it; the first of a list wins.
        for source in reversed(sources):
            frame.value.update(source)
            frame.merged.update(source)
