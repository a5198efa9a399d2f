"""Makes typed values of JSON, strictly: no field too many or too few, no type that is converted (pure).

pydantic does the same of JSON text, but takes six times as long for free JSON such as manifests (17 ms instead of 3 ms for 240 KiB), and of
JSON that is parsed already it makes dataclasses only where it converts everything else too. So the few types of our messages are read here.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from setpoint.wall.errors import ProtocolError
from setpoint.wall.limits import flaw

Shape = Callable[[Any], Any]
"""Returns the typed value of a JSON value, or raises Wrong."""


class Wrong(ProtocolError):
    """A value that is not of its type: where, and what is wrong, in words that quote nothing of it."""

    def __init__(self, what: str, where: str = "") -> None:
        super().__init__(f"{where} {what}" if where else f"it {what}")
        self.what, self.where = what, where

    def below(self, name: str) -> Wrong:
        """Return it as seen from what holds the value by this name."""
        dot = "." if self.where and not self.where.startswith("[") else ""
        return Wrong(self.what, f"{name}{dot}{self.where}")


def made(cls: Any, given: Mapping[str, Any]) -> Any:
    """Return a message of typed fields; Wrong if one is missing, or if they do not go together."""
    missing = [name for name in required(cls) if name not in given]
    if missing:
        raise Wrong("is missing", missing[0])
    value = cls(**given)
    if (what := flaw(value)) is not None:
        raise Wrong(what)
    return value


@lru_cache
def required(cls: Any) -> tuple[str, ...]:
    """Return the names of the fields that have no default."""
    return tuple(f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING)


@lru_cache
def shapes(cls: Any) -> Mapping[str, Shape]:
    """Return the shape of each field of a dataclass."""
    return {name: shape(hint) for name, hint in get_type_hints(cls).items()}


def typed(cls: Any, given: Any) -> dict[str, Any]:
    """Return a JSON value as typed fields of a dataclass, of which some may be missing; Wrong if it cannot be."""
    if type(given) is not dict:
        raise Wrong("is no map")
    known = shapes(cls)
    result = {}
    for name, value in given.items():
        if name not in known:
            raise Wrong(f"has a field that {cls.__name__} does not have")
        try:
            result[name] = known[name](value)
        except Wrong as wrong:
            raise wrong.below(name) from None
    return result


@lru_cache
def shape(hint: Any) -> Shape:
    """Return the shape of a type: a plain one, an enum of texts, a dataclass, or optional, tuple and mapping of such."""
    origin, of = get_origin(hint), get_args(hint)
    if hint is Any:
        return _anything
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin in (Union, types.UnionType) and len(of) == 2 and of[1] is type(None):
        return _optional(shape(of[0]))
    if origin is tuple and of[1:] == (...,):
        return _many(shape(of[0]))
    if origin is Mapping and of[0] is str:
        return _mapping if of[1] is Any else _named(shape(of[1]))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _enum(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return lambda value: made(hint, typed(hint, value))
    raise TypeError(f"no message may have a field of type {hint}")


def _anything(value: Any) -> Any:
    return value


def _exactly(kind: type[Any], what: str) -> Shape:
    def read(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise Wrong(what)

    return read


def _number(value: Any) -> float:
    if type(value) is float or (type(value) is int and abs(value) < 2**53):
        return float(value)
    raise Wrong("is no number")


def _whole(value: Any) -> int:
    if type(value) is int and abs(value) < 2**63:
        return value
    raise Wrong("is no integer of 64 bits")


def _optional(inner: Shape) -> Shape:
    return lambda value: None if value is None else inner(value)


_list = _exactly(list, "is no list")
_mapping = _exactly(dict, "is no map")


def _many(inner: Shape) -> Shape:
    def read(value: Any) -> tuple[Any, ...]:
        result: list[Any] = []
        try:
            for each in _list(value):
                result.append(inner(each))  # noqa: PERF401 - its length says which one is wrong
        except Wrong as wrong:
            raise (wrong.below(f"[{len(result)}]") if type(value) is list else wrong) from None
        return tuple(result)

    return read


def _named(inner: Shape) -> Shape:
    def read(value: Any) -> dict[str, Any]:
        try:
            return {name: inner(each) for name, each in _mapping(value).items()}
        except Wrong as wrong:
            # Not its name: that is what the other side sent.
            raise (wrong.below("[one]") if type(value) is dict else wrong) from None

    return read


def _enum(kind: type[StrEnum]) -> Shape:
    members = {str(each): each for each in kind}

    def read(value: Any) -> StrEnum:
        member = members.get(value) if type(value) is str else None
        if member is None:
            raise Wrong(f"is no {kind.__name__}")
        return member

    return read


_PLAIN: Mapping[Any, Shape] = {
    str: _exactly(str, "is no text"),
    bool: _exactly(bool, "is neither true nor false"),
    int: _whole,
    float: _number,
}
