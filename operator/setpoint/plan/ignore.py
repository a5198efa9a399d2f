"""Ignore rules: which objects they match, and which fields they leave to others (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from setpoint.api.sync import IgnoreRule
from setpoint.objects import managed_fields
from setpoint.objects.identity import Manifest, ObjectId
from setpoint.objects.json_patch import ABSENT, child, tokens_of


def matches(rule: IgnoreRule, oid: ObjectId) -> bool:
    """Return whether an ignore rule is for this object."""
    t = rule.target
    wanted = ((t.group, oid.group), (t.kind, oid.kind), (t.name, oid.name), (t.namespace, oid.namespace))
    return all(w is None or w == actual for w, actual in wanted)


def with_ignored(
    manifest: Manifest, live: Mapping[str, Any] | None, rules: Sequence[IgnoreRule], oid: ObjectId
) -> Manifest:
    """Return the manifest to send: ignored paths carry the live value (Git's where there is no live object).

    Leaving the path out instead would give the field up, and the server would reset it (`notes/apply.md`).
    """
    if live is None:
        return manifest
    for rule in rules:
        if matches(rule, oid):
            for path in rule.paths:
                manifest = _carry(manifest, live, tokens_of(path))
    return manifest


def _carry(node: Any, live: Any, tokens: list[str]) -> Any:
    head, rest = tokens[0], tokens[1:]
    theirs = child(live, head)
    if isinstance(node, list):
        if not head.isdigit() or int(head) >= len(node) or theirs is ABSENT:
            return node
        index = int(head)
        new = _carry(node[index], theirs, rest) if rest else theirs
        return [*node[:index], new, *node[index + 1 :]]
    if not isinstance(node, dict):
        return node
    if rest and head in node:
        return {**node, head: _carry(node[head], theirs, rest)}
    if rest:
        return node
    if theirs is ABSENT:
        return {k: v for k, v in node.items() if k != head}
    return {**node, head: theirs}


def is_ignored(path: managed_fields.Path, ignored: list[list[str]]) -> bool:
    """Return whether a path lies at or under one of the ignored ones (each as its tokens)."""
    tokens = [s.token for s in path]
    return any(tokens[: len(i)] == i for i in ignored)
