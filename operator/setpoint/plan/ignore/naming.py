"""Names fields as `spec.ignore` does (pure): what differs between two objects, in paths that a rule may have.

An index of a JSON Patch counts in the live list, and moves with each operation; one of a rule counts in Git's. So
elements are named by their keys, and a list without keys is named as a whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from setpoint.api import names
from setpoint.objects.identity import ObjectId
from setpoint.objects.json_patch import child, tokens_of
from setpoint.objects.managed_fields import FieldSet, Path
from setpoint.plan.ignore import paths
from setpoint.plan.ignore.paths import Key

MOST: Final = 3
"""Paths that a message names."""
_METADATA: Final = (("metadata",), ("metadata", "labels"), ("metadata", "annotations"))
"""What is ours in part, so that it is never named as a whole."""
_SPECIAL: Final = re.compile(r'[\[\],"]')

_At = tuple[str, ...]


def differing(live: Any, wanted: Any, trie: FieldSet) -> tuple[str, ...]:
    """Return the paths at which a live object differs from what is wanted; `trie`: what managedFields tell of it."""
    return tuple(map(_pointer, _differing(live, wanted, trie, ())))


def added(path: Path, obj: Any) -> str:
    """Return the path of what somebody added to an object: an element by its keys, one without keys by its list."""
    tokens: list[str] = []
    for step in path:
        if isinstance(obj, list) and step.guard is None:
            break
        tokens.append(selector(step.guard) if step.guard is not None else step.token)
        obj = child(obj, step.token)
    return _pointer(tuple(tokens))


def selector(key: Key) -> str:
    """Return the token that names an element by its key."""
    return f"[{','.join(f'{name}={_value(value)}' for name, value in key.items())}]"


def rule_for(oid: ObjectId, fields: Sequence[str]) -> str:
    """Return the rule to write into `spec.ignore`, on one line; empty where no rule would help."""
    free = [path for path in fields if not _is_ours(path)]
    if not free:
        return ""
    target = {"kind": oid.kind, "name": oid.name, **({"group": oid.group} if oid.group else {})}
    where = ", ".join(f"{key}: {json.dumps(value)}" for key, value in target.items())
    return f"{{target: {{{where}}}, paths: {json.dumps(free)}}}"


def listed(fields: Sequence[str]) -> str:
    """Return paths for a sentence, the first ones by name."""
    more = f" and {len(fields) - MOST} more" if len(fields) > MOST else ""
    return f"{', '.join(fields[:MOST])}{more}"


def _value(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if value and not _SPECIAL.search(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _pointer(at: _At) -> str:
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in at)


def _is_ours(path: str) -> bool:
    tokens = tokens_of(path)
    return tokens[:1] == ["metadata"] and tokens[-1].startswith(f"{names.GROUP}/")


def _differing(live: Any, wanted: Any, trie: FieldSet, at: _At) -> Iterator[_At]:
    if live == wanted:
        return
    if isinstance(live, dict) and isinstance(wanted, dict):
        yield from _in_object(live, wanted, trie, at)
    elif isinstance(live, list) and isinstance(wanted, list) and (keys := paths.keys_of(trie)):
        yield from _in_list(live, wanted, trie, keys, at)
    else:
        yield at


def _in_object(live: Mapping[str, Any], wanted: Mapping[str, Any], trie: FieldSet, at: _At) -> Iterator[_At]:
    for name in (*wanted, *(n for n in live if n not in wanted)):
        here = (*at, name)
        parts: dict[str, Any] | None = {} if here in _METADATA else None
        left, right = live.get(name, parts), wanted.get(name, parts)
        if (name in live and name in wanted) or parts is not None:
            yield from _differing(left, right, trie.get(f"f:{name}") or {}, here)
        else:
            yield here


def _in_list(
    live: Sequence[Any], wanted: Sequence[Any], trie: FieldSet, keys: Sequence[Key], at: _At
) -> Iterator[_At]:
    """Compare by key. A rule about an element that only Git has would not hold, so then it is the list."""
    names = keys[0].keys()
    there, here_in_git, tries = (
        paths.indexed(live, names),
        paths.indexed(wanted, names),
        paths.tries_of(trie, names),
    )
    pairs = [
        (key, there.get(values, (0, None))[1], here_in_git.get(values, (0, None))[1])
        for key in keys
        if (values := paths.values_of(key, names)) is not None
    ]
    if any(theirs is None and ours is not None for _, theirs, ours in pairs):
        yield at
        return
    found: list[_At] = []
    for key, theirs, ours in pairs:
        here = (*at, selector(key))
        if ours is None and theirs is not None:
            found.append(here)
        else:
            found += _differing(theirs, ours, tries.get(paths.values_of(key, names) or (), {}), here)
    yield from found or [at]
