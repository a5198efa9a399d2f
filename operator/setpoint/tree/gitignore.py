"""Matches paths against the lines of a .gitignore, exactly as `git check-ignore --no-index` does (pure).

All lines together are one automaton, whose set of states is one number: a bit for each token of each line. A step
takes one byte of a path through all lines at once, so the time is bounded by the size of the lines times that of
the path, whatever they hold. What was found for a folder is remembered for all that is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from setpoint.tree.wildmatch import SLASH, Token, Unfit, literal_length, tokens

_SHOWN: Final = 80
"""Characters of a line that a message shows."""


class BadLine(ValueError):
    """A line that can match nothing, or is not a line; the text quotes it and says why."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A pattern: what it is made of, and what it says of whom."""

    tokens: tuple[Token, ...]
    negated: bool
    folders_only: bool
    of_path: bool
    """Whether it is held against the whole path, not against a name anywhere."""


@dataclass(slots=True)
class _Folder:
    """A folder that was entered: the states in which its names begin, or that it is left out with all it holds."""

    states: int
    ignored: bool = False
    folders: dict[bytes, _Folder] = field(default_factory=dict)


class GitIgnore:
    """Lines of a .gitignore, made ready to be asked."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Raise BadLine for the first line that can match nothing."""
        compiled = _Compiler([line for line in map(_parsed, _cleaned(lines)) if line])
        self._accepts, self._repeats = compiled.accepts, compiled.repeats
        self._next, self._skip = compiled.next, compiled.skip
        self._negated, self._for_folders, self._for_files = (
            compiled.negated,
            compiled.ends,
            compiled.file_ends,
        )
        self._anywhere = self._closed(compiled.anywhere)
        self._root = _Folder(self._anywhere | self._closed(compiled.anchored))

    def ignores(self, path: str) -> bool:
        """Return whether a file is left out, by itself or with a folder above it."""
        if not self._root.states:
            return False  # there are no lines
        *folders, name = path.encode("utf-8", "surrogateescape").split(b"/")
        at = self._root
        for each in folders:
            at = at.folders.get(each) or self._enter(at, each)
            if at.ignored:
                return True
        return self._says(self._after(at.states, name), self._for_files)

    def _enter(self, above: _Folder, name: bytes) -> _Folder:
        states = self._after(above.states, name)
        if self._says(states, self._for_folders):
            entered = _Folder(0, ignored=True)
        else:
            entered = _Folder(self._after(states, b"/") | self._anywhere)
        above.folders[name] = entered
        return entered

    def _says(self, states: int, ends: int) -> bool:
        """Return whether the last line that is at its end leaves out; it is the one with the highest bit."""
        last = (states & ends).bit_length()
        return bool(last) and not self._negated >> (last - 1) & 1

    def _after(self, states: int, text: bytes) -> int:
        for byte in text:
            taken = states & self._accepts[byte]
            if not taken:
                return 0
            stay = taken & self._repeats
            states = self._closed(stay | (taken ^ stay) << 1)
        return states

    def _closed(self, states: int) -> int:
        """Add what is reached without a byte: past `**/`, and from it and from a star to what follows."""
        states |= (states & self._skip) << 3
        states |= (states & self._next) << 1
        return states | (states & self._next) << 1


class _Compiler:
    """Numbers the states of all lines, one after the other; each line ends with a state that takes nothing."""

    def __init__(self, lines: Sequence[_Line]) -> None:
        self.repeats = self.next = self.skip = 0
        self.anchored = self.anywhere = self.negated = self.ends = self.file_ends = 0
        self._at = 0
        self._states: dict[frozenset[int], list[int]] = {}
        """The states that take the same bytes."""
        for line in lines:
            self._add(line)
        self.accepts = self._by_byte()

    def _add(self, line: _Line) -> None:
        if line.of_path:
            self.anchored |= 1 << self._at
        else:
            self.anywhere |= 1 << self._at
        for token in line.tokens:
            self._token(token)
        self.negated |= line.negated << self._at
        self.ends |= 1 << self._at
        self.file_ends |= (not line.folders_only) << self._at
        self._at += 1

    def _token(self, token: Token) -> None:
        if token.folders:
            # Three states: one to skip it all, one that takes anything, and one for the slash.
            self.skip |= 1 << self._at
            self._state(frozenset(), free=True)
            self._state(token.accepts, repeats=True, free=True)
            self._state(frozenset((SLASH,)))
        else:
            self._state(token.accepts, repeats=token.repeats, free=token.repeats)

    def _state(self, accepts: frozenset[int], *, repeats: bool = False, free: bool = False) -> None:
        """Number a state; a `free` one leads on without a byte."""
        self._states.setdefault(accepts, []).append(self._at)
        self.repeats |= repeats << self._at
        self.next |= free << self._at
        self._at += 1

    def _by_byte(self) -> tuple[int, ...]:
        found = [0] * 256
        for accepts, states in self._states.items():
            bits = _bits(states, self._at)
            for byte in accepts:
                found[byte] |= bits
        return tuple(found)


def _bits(states: Iterable[int], size: int) -> int:
    found = bytearray(size // 8 + 1)
    for state in states:
        found[state // 8] |= 1 << state % 8
    return int.from_bytes(found, "little")


def _cleaned(lines: Iterable[str]) -> list[str]:
    """Return the lines without their ends, and without the mark that some editors put before the first one."""
    found = [line.removesuffix("\n").removesuffix("\r") for line in lines]
    return [found[0].removeprefix("\ufeff"), *found[1:]] if found else []


def _parsed(line: str) -> _Line | None:
    """Return what a line says; None for a comment and for a blank one, which say nothing."""
    try:
        text = _trimmed(_bytes(line))
        return _read(text) if text and not line.startswith("#") else None
    except Unfit as error:
        raise BadLine(f"{line[:_SHOWN]!a}{'...' * (len(line) > _SHOWN)}: {error}") from None


def _bytes(line: str) -> bytes:
    if "\n" in line or "\0" in line:
        raise Unfit("it holds a line break or a zero byte; write one pattern for each line")
    try:
        return line.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise Unfit("it holds a character that no path has") from None


def _trimmed(text: bytes) -> bytes:
    """Return a line without blanks at its end, but for those that a backslash keeps (dir.c)."""
    end = at = 0
    while at < len(text):
        blank = text[at : at + 1] == b" "
        at += 1 + (text[at : at + 1] == b"\\")
        end = end if blank else at
    return text[:end]


def _read(text: bytes) -> _Line:
    negated, text = text.startswith(b"!"), text.removeprefix(b"!")
    folders_only, text = text.endswith(b"/"), text.removesuffix(b"/")
    if not text:
        raise Unfit("it names nothing")
    of_path, text = b"/" in text, text.removeprefix(b"/")
    return _Line(tokens(text, literal_length(text), of_path=of_path), negated, folders_only, of_path)
