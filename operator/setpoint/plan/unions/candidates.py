"""What a refusal may be about (pure): nodes of the live object that stand in the way of what Git sets.

In: the causes of the refusal. Out: fields that Git does not set, each with the place that it is in. Some causes name the
old member of a union, some the new one, and some the node that both are in (or what that was called in an older API).
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from setpoint.objects.managed_fields import Path, Step, pointer
from setpoint.plan.unions.places import Finder, Place, changes, tokens_of_field

_WORD = re.compile(r"\w+")
_LONGEST_MESSAGE = 1000
_FRAME = 2
"""How deep a node lies at least that is taken for a union as a whole: `spec` is none."""


class Cause(Protocol):
    """One detail of a refusal, as `kube.errors.Cause` is."""

    @property
    def field(self) -> str:
        """The path of the field."""

    @property
    def message(self) -> str:
        """What is wrong with it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A field of a live node that Git does not set, though it sets others there."""

    place: Place
    name: str

    @property
    def path(self) -> Path:
        """The way to it in the live object."""
        return (*self.place.path, Step(self.name))

    @property
    def value(self) -> Any:
        """What it is now."""
        return self.place.live[self.name]

    @property
    def is_foreign(self) -> bool:
        """Whether somebody whose fields stay owns it, or a part of it."""
        return self.place.is_foreign(self.name)


@dataclass(slots=True)
class _Asked:
    """What the causes that are about one place have in common, so that it is gone through once for all of them."""

    place: Place
    words: set[str]
    within: bool = False
    beside: bool = False
    has_new_member: bool = False
    """Whether it is an object that Git sets there, and that is refused."""


def candidates(root: Place, causes: Iterable[Cause]) -> tuple[Candidate, ...]:
    """Return what the causes of a refusal may be about, each once."""
    finder, asked, found = Finder(), dict[tuple[str, ...], _Asked](), dict[str, Candidate]()
    for field, message in dict.fromkeys((c.field, c.message[:_LONGEST_MESSAGE]) for c in causes):
        tokens = tokens_of_field(field)
        if tokens and tokens[0] not in ("metadata", "status"):
            for each in _read(finder, root, tokens, frozenset(_WORD.findall(message)), asked):
                found.setdefault(pointer(each.path), each)
    for about in asked.values():
        for each in _of_place(about):
            found.setdefault(pointer(each.path), each)
    # Nothing stands alone at the top of an object; there, nobody could say what belongs together.
    return tuple(each for each in found.values() if each.place.path)


def _read(
    finder: Finder,
    root: Place,
    tokens: Sequence[str],
    words: frozenset[str],
    asked: dict[tuple[str, ...], _Asked],
) -> Iterator[Candidate]:
    """Return the old member, if it is what a cause names; else note what it asks about."""
    place, rest = finder.find(root, tokens)
    if rest and place.is_object and rest[0] in place.live and not place.sets(rest[0]):
        yield Candidate(place, rest[0])
        return
    is_value = not rest and not place.is_object
    about = place.parent if is_value and place.parent is not None else place
    if not about.is_object:
        return
    noted = asked.setdefault(about.at, _Asked(about, set()))
    noted.words |= words
    if is_value or (rest and place.sets(rest[0])):
        noted.beside = True
        noted.has_new_member |= not is_value and isinstance(place.git[rest[0]], dict)
    else:
        noted.within = True


def _of_place(about: _Asked) -> Iterator[Candidate]:
    """Return what stands in the way in a node; where nothing does, what does beside it."""
    place = about.place
    if about.beside:
        yield from _beside(place, about.words, objects=about.has_new_member)
    if about.within:
        inside = list(_within(place, about.words))
        yield from inside
        if not inside and place.parent is not None and place.parent.is_object:
            yield from _beside(place.parent, about.words, objects=True)


def _beside(place: Place, words: Container[str], *, objects: bool) -> Iterator[Candidate]:
    """Return what else is in a node. Members are objects; any other field must be named in the message."""
    return (
        Candidate(place, name)
        for name in place.unset()
        if name in words or (objects and isinstance(place.live[name], dict))
    )


def _within(place: Place, words: Container[str]) -> Iterator[Candidate]:
    """Return what a node has beside what Git sets there, where Git sets anything else than is there."""
    is_frame = len(place.path) < _FRAME
    if changes(place.git, place.live):
        yield from _beside(place, words, objects=not is_frame)
    for name, value in place.git.items():
        if not is_frame and isinstance(value, dict) and isinstance(place.live.get(name), dict):
            yield from _within(place.field(name), words)


def named(found: Iterable[Candidate]) -> str:
    """Return the fields for a sentence, the first ones by name."""
    every = [_words(each.path) for each in found]
    return ", ".join(every[:3]) + (f" and {len(every) - 3} more" if len(every) > 3 else "")


def _words(path: Path) -> str:
    """Return a path as the API server writes it, with elements by their keys."""
    text = ""
    for step in path:
        text += f"[{_key(step.guard)}]" if step.guard is not None else f".{step.token}"
    return text.removeprefix(".")


def _key(guard: Mapping[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in guard.items())
