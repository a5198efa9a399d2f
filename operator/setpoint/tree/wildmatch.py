"""Reads one pattern of Git's wildmatch into tokens: stars, classes and bytes (pure).

Git works on bytes, so `?` is one byte and a class holds bytes. Nothing here looks at a path: `gitignore` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SLASH: Final = ord("/")
_STAR, _BACKSLASH, _OPEN, _CLOSE, _DASH = b"*\\[]-"
_ALL: Final = frozenset(range(256))
_SEGMENT: Final = _ALL - {SLASH}
"""What a star, a question mark or a class may take: a slash is taken by a slash and by `**` alone."""
_DIGITS: Final = frozenset(b"0123456789")
_LOWER: Final = frozenset(range(ord("a"), ord("z") + 1))
_UPPER: Final = frozenset(range(ord("A"), ord("Z") + 1))
_VISIBLE: Final = frozenset(range(0x21, 0x7F))
# Git has ctype tables of its own (ctype.c): no locale, and neither \v nor \f is a space.
_CLASSES: Final = {
    b"alnum": _DIGITS | _LOWER | _UPPER,
    b"alpha": _LOWER | _UPPER,
    b"blank": frozenset(b" \t"),
    b"cntrl": frozenset((*range(0x20), 0x7F)),
    b"digit": _DIGITS,
    b"graph": _VISIBLE,
    b"lower": _LOWER,
    b"print": _VISIBLE | {ord(" ")},
    b"punct": _VISIBLE - _DIGITS - _LOWER - _UPPER,
    b"space": frozenset(b" \t\n\r"),
    b"upper": _UPPER,
    b"xdigit": _DIGITS | frozenset(b"abcdefABCDEF"),
}


class Unfit(ValueError):
    """A pattern that can match nothing; the text says why, and does not name the pattern."""


@dataclass(frozen=True, slots=True)
class Token:
    """Takes one byte of `accepts`; if it `repeats`, any number of them.

    `folders`: the token stands for `**/`, which is nothing, or anything that ends with a slash.
    """

    accepts: frozenset[int]
    repeats: bool = False
    folders: bool = False


ANYTHING: Final = Token(_ALL, repeats=True)
FOLDERS: Final = Token(_ALL, folders=True)
_WITHIN: Final = Token(_SEGMENT, repeats=True)
_ONE: Final = Token(_SEGMENT)


def tokens(pattern: bytes, literal: int, *, of_path: bool) -> tuple[Token, ...]:
    """Return the tokens of a pattern, or raise Unfit.

    `of_path`: whether it is held against a whole path, where `**` may go through folders. `literal`: how many bytes
    come before the first special one; Git compares these by themselves, and takes a `**` after them for a first one.
    """
    found: list[Token] = []
    at = 0
    while at < len(pattern):
        byte = pattern[at]
        if byte == _STAR:
            token, end = _stars(pattern, at, first=at == literal) if of_path else _run(pattern, at)
        elif byte == _OPEN:
            token, end = _bracket(pattern, at + 1)
        elif byte == ord("?"):
            token, end = _ONE, at + 1
        else:
            at += byte == _BACKSLASH
            token, end = Token(frozenset((_byte(pattern, at),))), at + 1
        at = end
        if not (token is FOLDERS and found[-1:] == [FOLDERS]):  # twice `**/` is once `**/`
            found.append(token)
    return tuple(found)


def literal_length(pattern: bytes) -> int:
    """Return how many bytes come before the first special one."""
    return next((i for i, byte in enumerate(pattern) if byte in b"*?[\\"), len(pattern))


def _byte(pattern: bytes, at: int) -> int:
    if at >= len(pattern):
        raise Unfit("it ends with a backslash, which escapes nothing")
    return pattern[at]


def _run(pattern: bytes, at: int) -> tuple[Token, int]:
    """Return the token of stars within a segment, and where it ends."""
    while pattern[at : at + 1] == b"*":
        at += 1
    return _WITHIN, at


def _stars(pattern: bytes, start: int, *, first: bool) -> tuple[Token, int]:
    """Return the token of stars in a path: two or more go through folders if they fill a segment."""
    _, end = _run(pattern, start)
    fills = (first or pattern[start - 1] == SLASH) and (
        end == len(pattern) or pattern[end] == SLASH or pattern[end : end + 2] == b"\\/"
    )
    if end - start == 1 or not fills:
        return _WITHIN, end
    return (FOLDERS, end + 1) if pattern[end : end + 1] == b"/" else (ANYTHING, end)


def _bracket(pattern: bytes, at: int) -> tuple[Token, int]:
    """Return the token of a class, whose content begins at `at`, and where it ends."""
    negated = pattern[at : at + 1] in (b"!", b"^")
    at += negated
    taken: set[int] = set()
    previous: int | None = None
    start = at
    while at == start or _member(pattern, at) != _CLOSE:
        byte = _member(pattern, at)
        if byte == _DASH and previous and pattern[at + 1 : at + 2] not in (b"", b"]"):
            at += 1 + (pattern[at + 1] == _BACKSLASH)
            taken.update(range(previous, _member(pattern, at) + 1))
            previous = None
        elif byte == _OPEN and (name := _class_name(pattern, at)) is not None:
            taken |= _named(name)
            at += len(name) + 3
            previous = None
        else:
            at += byte == _BACKSLASH
            previous = _member(pattern, at)
            taken.add(previous)
        at += 1
    return Token(_SEGMENT - taken if negated else _SEGMENT & taken), at + 1


def _member(pattern: bytes, at: int) -> int:
    if at >= len(pattern):
        raise Unfit("it opens a class with [ that no ] closes")
    return pattern[at]


def _class_name(pattern: bytes, at: int) -> bytes | None:
    """Return the name of the POSIX class that begins at `at`; None if it is but a bracket."""
    if pattern[at + 1 : at + 2] != b":":
        return None
    end = pattern.find(b"]", at + 2)
    _member(pattern, end if end >= 0 else len(pattern))
    name = pattern[at + 2 : end]
    return name[:-1] if name.endswith(b":") else None


def _named(name: bytes) -> frozenset[int]:
    if name not in _CLASSES:
        raise Unfit("it names a class of characters that there is not, such as [[:word:]]")
    return _CLASSES[name]
