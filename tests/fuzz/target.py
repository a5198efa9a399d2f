"""A kind of input: how cases are made, made smaller and written, and what compares the two readers of one.

Cases come from a `Random` and not from hypothesis, which needs ten times as long to make one as two readers need to read it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Generic, NoReturn, TypeVar

Case = TypeVar("Case")
Item = TypeVar("Item")

SAME = "read alike"
REFUSED = "refused by both"


class Difference(AssertionError):
    """Setpoint and the other program read one input differently, and no table says why."""


@dataclass(frozen=True)
class Meant:
    """A difference that is meant: Setpoint refuses with these words (a regular expression) what the other program takes."""

    words: str
    reason: str


def meant(table: Sequence[Meant], message: str) -> str:
    """Return the label of a refusal that is meant; raises Difference for another."""
    known = next((each.words for each in table if re.search(each.words, message)), None)
    if known is None:
        differ(f"Setpoint alone refuses it, and the table has no such words: {message}")
    return f"refused by Setpoint alone: {known}"


def differ(text: str) -> NoReturn:
    """Raise Difference."""
    raise Difference(text)


Check = Callable[[Case], str]
"""Compares the readers of a case; returns a label for the count, raises Difference."""


@dataclass(frozen=True)
class Target(Generic[Case]):
    """`make` makes a case, `smaller` what is left without a part of it. `opened` starts what is compared with, and ends it.

    `examples`: cases of a round.
    """

    name: str
    make: Callable[[Random], Case]
    smaller: Callable[[Case], Iterator[Case]]
    read: Callable[[bytes], Case]
    write: Callable[[Case], bytes]
    opened: Callable[[Path], AbstractContextManager[Check[Case]]]
    examples: int


def fewer(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Return what is left of a list without a part of it: large parts first, then one item after the other."""
    size = len(items) // 2
    while size:
        for at in range(0, len(items), size):
            yield [*items[:at], *items[at + size :]]
        size //= 2
    if len(items) == 1:
        yield []


def shorter(text: str, separator: str = "\n") -> Iterator[str]:
    """Return what is left of a text without some of its lines, then without some of its characters."""
    for lines in fewer(text.split(separator)):
        yield separator.join(lines)
    for characters in fewer(text):
        yield "".join(characters)


def some(rng: Random, make: Callable[[Random], Item], least: int, most: int) -> list[Item]:
    """Make a list of some length."""
    return [make(rng) for _ in range(rng.randint(least, most))]
