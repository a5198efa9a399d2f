"""What a value of a message may be beyond its type (pure): the same for who sends it and who receives it, but for depth."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import inf
from typing import Any, Final

from setpoint.api.budgets import MAX_PATH
from setpoint.wall import inside as i
from setpoint.wall import messages as m
from setpoint.wall.receipt import breach_of_depth, breach_of_head
from setpoint.wall.words import MAX_LINE, MAX_WORDS, fits

SENT_DEPTH: Final = 64
"""Levels of an object that the worker sends; the operator takes `receipt.MAX_DEPTH`."""
MAX_OBJECT: Final = 3 * 512 * 1024
"""Bytes of one object as JSON: what etcd takes."""
MAX_API: Final = 1024
"""Places of an API server that are told."""
MAX_LINKS: Final = 10_000
"""Submodules of one commit that are told."""
MAX_PLACED: Final = 20_000
"""Objects whose places are told."""
MAX_ID: Final = 256
"""Characters of what names something: whoever is told it keeps it."""
MAX_REVISION: Final = 1024
MAX_URL: Final = 2048
"""Characters of a URL, as of `spec.url`."""
MAX_NAME: Final = 1024
"""Characters of a part of an object's identity."""
_TIME: Final = 64
_SHA: Final = re.compile(r"[0-9a-f]{40}")

LENGTHS: Final[Mapping[type[Any], Mapping[str, int]]] = {
    m.Hello: {"build": MAX_ID},
    m.Welcome: {"build": MAX_ID, "cache": MAX_ID},
    m.Place: {"namespace": MAX_ID, "url": MAX_URL},
    m.GitRef: dict.fromkeys(("branch", "tag", "semver", "name", "commit"), MAX_ID),
    m.Fetch: {"sha": MAX_ID},
    m.Compare: dict.fromkeys(("handle", "old", "new", "read_sets"), MAX_ID),
    m.Look: dict.fromkeys(("namespace", "handle", "sha"), MAX_ID),
    m.Build: {"have": MAX_ID},
    m.Objects: {"digest": MAX_ID},
    m.Places: {"digest": MAX_ID},
    m.Drop: dict.fromkeys(("namespace", "digests", "read_sets", "handles"), MAX_ID),
    m.Failed: {"read_set": MAX_ID},
    m.Checked: {"handle": MAX_ID, "sha": MAX_ID, "revision": MAX_REVISION, "time": _TIME},
    m.Fetched: {"handle": MAX_ID},
    m.Compared: {"touched": MAX_ID},
    m.Same: {"digest": MAX_ID, "read_set": MAX_ID},
    m.Built: {"digest": MAX_ID, "read_set": MAX_ID},
    m.Located: dict.fromkeys(("group", "kind", "namespace", "name"), MAX_NAME),
    i.Describe: {"handle": MAX_ID, "sha": MAX_ID},
    i.Described: {"time": _TIME},
    i.Links: {"handle": MAX_ID, "sha": MAX_ID},
    i.Submodule: {"path": MAX_PATH, "url": MAX_URL},
    i.Pinned: {"path": MAX_PATH, "handle": MAX_ID},
    i.Told: {"handle": MAX_ID},
    i.Run: {"work": 128, "target": MAX_PATH},
    i.Ran: {"stopped": MAX_ID},
    i.Damaged: {"handle": MAX_ID},
}
"""Characters of texts, or of each text of a list, by the fields of a type."""


def flaw(value: object) -> str | None:
    """Return what is wrong with a value of a message, in words that go after its name; None if nothing is.

    The depth of what is free JSON is another question (`nesting`): it is asked once for many values.
    """
    check = _CHECKS.get(type(value))
    return _long(value) or (check(value) if check else None)


def nesting(value: object, depth: int = SENT_DEPTH) -> str | None:
    """Return what is wrong with the free JSON in a value of a message, in such words; None if nothing is."""
    if isinstance(value, m.Made):
        return breach_of_depth(value.manifest, depth)
    return breach_of_depth(value.spec, depth) if isinstance(value, m.Look) else None


def _long(value: object) -> str | None:
    for name, most in LENGTHS.get(type(value), {}).items():
        given = getattr(value, name)
        texts = given if isinstance(given, tuple) else (given or "",)
        if any(len(each) > most for each in texts):
            return f"has a `{name}` of more than {most} characters"
    return None


def _api_server(place: m.ApiServer) -> str | None:
    if not 0 < place.port < 2**16:
        return "has a port that is none"
    return None if place.host.isprintable() and fits(place.host, MAX_LINE) else "has a host that is no name"


def _hello(hello: m.Hello) -> str | None:
    return None if len(hello.api) <= MAX_API else f"has more than {MAX_API} places of an API server"


def _stats(stats: m.Stats) -> str | None:
    """Names become labels of metrics, of which each is kept: none may be of the worker's choice."""
    if stats.memory.keys() - m.PROCESSES or stats.processes.keys() - m.PROCESSES:
        return "has a kind of process that is none"
    counts = (*stats.memory.values(), *stats.processes.values(), stats.deaths)
    if min(counts) < 0 or not 0 <= stats.longest_wait < inf:
        return "has a figure that is none"
    return None


def _made(made: m.Made) -> str | None:
    return _line(made.where) or breach_of_head(made.manifest)


def _located(located: m.Located) -> str | None:
    return _line(located.where)


def _line(text: str) -> str | None:
    short = text.isprintable() and fits(text, MAX_LINE)
    return None if short else f"has a `where` that is no printable line of at most {MAX_LINE} bytes"


def _failed(failed: m.Failed) -> str | None:
    return _words(failed.message)


def _commit(commit: m.Checked | i.Described) -> str | None:
    return _words(commit.subject) or _words(commit.author)


def _pinned(pinned: i.Submodule | i.Pinned | i.Told) -> str | None:
    return None if _SHA.fullmatch(pinned.sha) else "has a `sha` that is none"


def _linked(linked: i.Linked) -> str | None:
    return _more(linked.submodules, MAX_LINKS)


def _placed(placed: m.Placed) -> str | None:
    return _more(placed.objects, MAX_PLACED)


def _more(items: tuple[object, ...], most: int) -> str | None:
    return f"has more than {most} items" if len(items) > most else None


def _words(text: str) -> str | None:
    return None if fits(text, MAX_WORDS) else f"has a text of more than {MAX_WORDS} bytes"


def _built(built: m.Built) -> str | None:
    return next(filter(None, map(_words, built.twice)), None)


_CHECKS: Final[Mapping[type[Any], Callable[[Any], str | None]]] = {
    m.ApiServer: _api_server,
    m.Hello: _hello,
    m.Stats: _stats,
    m.Made: _made,
    m.Located: _located,
    m.Failed: _failed,
    m.Checked: _commit,
    m.Placed: _placed,
    i.Described: _commit,
    i.Submodule: _pinned,
    i.Pinned: _pinned,
    i.Told: _pinned,
    i.Linked: _linked,
    m.Built: _built,
}
