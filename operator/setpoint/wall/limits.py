"""What a value of a message may be beyond its type (pure): the same for who sends it and who receives it, but for depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from setpoint.wall import messages as m
from setpoint.wall.receipt import breach_of_depth, breach_of_head
from setpoint.wall.words import MAX_LINE, MAX_WORDS, fits

SENT_DEPTH: Final = 64
"""Levels of an object that the worker sends; the operator takes `receipt.MAX_DEPTH`."""
MAX_OBJECT: Final = 3 * 512 * 1024
"""Bytes of one object as JSON: what etcd takes."""
MAX_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes of one message, unless more is allowed: whoever receives it holds all of it."""


MAX_API: Final = 1024
"""Places of an API server that are told."""


def flaw(value: object) -> str | None:
    """Return what is wrong with a value of a message, in words that go after its name; None if nothing is.

    The depth of what is free JSON is another question (`nesting`): it is asked once for many values.
    """
    check = _CHECKS.get(type(value))
    return check(value) if check else None


def nesting(value: object, depth: int = SENT_DEPTH) -> str | None:
    """Return what is wrong with the free JSON in a value of a message, in such words; None if nothing is."""
    if isinstance(value, m.Made):
        return breach_of_depth(value.manifest, depth)
    return breach_of_depth(value.spec, depth) if isinstance(value, m.Look) else None


def _api_server(place: m.ApiServer) -> str | None:
    if not 0 < place.port < 2**16:
        return "has a port that is none"
    return None if place.host.isprintable() and fits(place.host, MAX_LINE) else "has a host that is no name"


def _hello(hello: m.Hello) -> str | None:
    return None if len(hello.api) <= MAX_API else f"has more than {MAX_API} places of an API server"


def _made(made: m.Made) -> str | None:
    return _line(made.where) or breach_of_head(made.manifest)


def _located(located: m.Located) -> str | None:
    return _line(located.where)


def _line(text: str) -> str | None:
    short = text.isprintable() and fits(text, MAX_LINE)
    return None if short else f"has a `where` that is no printable line of at most {MAX_LINE} bytes"


def _failed(failed: m.Failed) -> str | None:
    return _words(failed.message)


def _checked(checked: m.Checked) -> str | None:
    return _words(checked.subject) or _words(checked.author)


def _words(text: str) -> str | None:
    return None if fits(text, MAX_WORDS) else f"has a text of more than {MAX_WORDS} bytes"


def _built(built: m.Built) -> str | None:
    return next(filter(None, map(_words, built.twice)), None)


_CHECKS: Final[Mapping[type[Any], Callable[[Any], str | None]]] = {
    m.ApiServer: _api_server,
    m.Hello: _hello,
    m.Made: _made,
    m.Located: _located,
    m.Failed: _failed,
    m.Checked: _checked,
    m.Built: _built,
}
