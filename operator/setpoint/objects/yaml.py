"""Reads a YAML stream within bounds: libyaml's events, typed as kubectl types them (pure).

Built from events, not from PyYAML's nodes and constructors: half the time, and the bounds are checked while
the values grow. Aliases share one value, so that only what is written out later could explode: what they stand
for counts here as if it were written out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

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
    merged: set[str] = field(default_factory=set)


def parse(data: bytes, file: str, budgets: Budgets = DEFAULTS) -> Iterator[Parsed]:
    """Return the documents of a YAML stream in UTF-8; empty ones have the value None.

    Raises Problem, RenderFailed or TooLarge, that names `file` and line.
    """
    parser, values = CParser(data), 0
    try:
        while not isinstance(event := parser.get_event(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                made = _Builder(file, budgets, values).build(parser.get_event)
                values += made.values
                yield made
    except yaml.MarkedYAMLError as error:
        _syntax(error, data, file)
    except yaml.reader.ReaderError as error:
        line = data.count(b"\n", 0, max(error.position, 0)) + 1
        raise Problem(
            Reason.RenderFailed, f"{file}:{line}: a control character stands in the text; remove it"
        ) from None
    finally:
        parser.dispose()


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


def _syntax(error: yaml.MarkedYAMLError, data: bytes, file: str) -> NoReturn:
    mark = error.problem_mark or error.context_mark
    first = (error.context_mark or mark).line if mark else 0
    line = mark.line if mark else 0
    rows = data.split(b"\n", line + 1)[: line + 1]
    text = error.problem or error.context or "the YAML cannot be read"
    template = next((row for row in range(first, len(rows)) if b"{{" in rows[row]), None)
    if template is not None:
        line, text = (
            template,
            "this is a template, not YAML; render it first, or list the file in spec.exclude",
        )
    elif "cannot start any token" in text and mark and rows[-1][: mark.column + 1].endswith(b"\t"):
        text = "a tab stands where spaces are needed; indent with spaces"
    raise Problem(Reason.RenderFailed, f"{file}:{line + 1}: {text}") from None


class _Builder:
    """Builds the value of one document; `before`: how many values the documents before it have."""

    def __init__(self, file: str, budgets: Budgets, before: int) -> None:
        self.file = file
        self.anchors: dict[str, tuple[Any, _Size]] = {}
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
                first = event.start_mark.line + 1
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
        return Parsed(root, first or 1, self.lines, values - self._before)

    def _over(self, budget: Budget, figure: int, event: Any) -> None:
        where = f"{self.file}:{event.start_mark.line + 1}"
        self._budgets.check(budget, figure, where, counted=False)

    def _fail(self, event: Any, text: str) -> NoReturn:
        raise Problem(Reason.RenderFailed, f"{self.file}:{event.start_mark.line + 1}: {text}")

    def _open(self, value: Any, event: Any) -> None:
        if len(self.stack) >= self._depth:
            self._over("max_depth", len(self.stack) + 1, event)
        if self.stack and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is _NO_KEY:
            self._fail(event, "a mapping or a list cannot be a key")
        if len(self.stack) == 2:
            self.lines[id(value)] = event.start_mark.line + 1
        self.stack.append(_Frame(value, event.start_mark.line, event.anchor))

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
        if len(self.stack) + found[1].levels > self._depth:
            self._over("max_depth", len(self.stack) + found[1].levels, event)
        return found

    def _scalar(self, event: Any) -> tuple[Any, _Size]:
        text: str = event.value
        frame = self.stack[-1] if self.stack else None
        is_key = frame is not None and frame.key is _NO_KEY and isinstance(frame.value, dict)
        try:
            value = self._typed(event, text, is_key)
        except scalars.ScalarError as error:
            self._fail(event, str(error))
        size = _Size(1 + (len(text) >> _TEXT_SHIFT), 0) if len(text) >> _TEXT_SHIFT else _SCALAR
        if event.anchor is not None:
            self.anchors[event.anchor] = value, size
        if is_key and frame is not None:
            frame.merge = text == "<<" and (event.implicit[0] or event.tag == _MERGE)
        return value, size

    @staticmethod
    def _typed(event: Any, text: str, is_key: bool) -> Any:
        if event.tag is not None:
            return scalars.tagged(event.tag, text)
        if not event.implicit[0] or (text and text[0] not in _SPECIAL):
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
