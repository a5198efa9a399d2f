"""The plan: desired + live + inventory + policy -> what to create, patch, delete, keep or refuse, and why (pure).

Live is compared with the server's own prediction (a dry run of server-side apply), so defaults and admission
are never drift. Patches are RFC 6902, from live to predicted, without the server's bookkeeping.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import jsonpatch

from setpoint import fields, names
from setpoint.api import IgnoreRule
from setpoint.desired import Desired
from setpoint.objects import Manifest, ObjectId, Observed, SyncKey, owner_of
from setpoint.reasons import Reason

BOOKKEEPING = frozenset(
    {
        "managedFields",
        "resourceVersion",
        "generation",
        "uid",
        "creationTimestamp",
        "selfLink",
        "deletionTimestamp",
    }
)
STAMPS = frozenset({names.ANNOTATION_CHANGED_BY, names.ANNOTATION_CHANGED_FROM})
PROTECTED = frozenset(
    {
        ("", "Namespace"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("", "PersistentVolume"),
        ("", "PersistentVolumeClaim"),
    }
)
LEAST_LIMIT = 5

Operation = dict[str, Any]


class Action(StrEnum):
    """What happens to one object."""

    CREATE = "create"
    PATCH = "patch"
    ADOPT = "adopt"
    KEEP = "keep"
    DELETE = "delete"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be done with one desired object, and what differs."""

    id: ObjectId
    action: Action
    reason: Reason = Reason.Succeeded
    message: str = ""
    patch: tuple[Operation, ...] = ()
    additions: tuple[tuple[fields.Path, Any], ...] = ()
    manager: str | None = None
    was: Any = None
    """The live value at the path of the first operation, where that is a scalar."""
    ours: bool = False
    """Whether what differs was written by us and by nobody since: a newer commit, before a crash."""


# --- whose is it ----------------------------------------------------------------------------------

FOREIGN_MARKS: tuple[tuple[str, str, str | None], ...] = (
    ("Helm", "labels:app.kubernetes.io/managed-by", "Helm"),
    ("Helm", "annotations:meta.helm.sh/release-name", None),
    ("Flux", "labels:kustomize.toolkit.fluxcd.io/name", None),
    ("Flux", "labels:helm.toolkit.fluxcd.io/name", None),
    ("Argo CD", "annotations:argocd.argoproj.io/tracking-id", None),
    ("Argo CD", "labels:argocd.argoproj.io/instance", None),
)
TAKEOVER_MANAGERS = frozenset(
    {
        "helm",
        "kustomize-controller",
        "helm-controller",
        "argocd-controller",
        "argocd-application-controller",
        "before-first-apply",
    }
)


def foreign_tool(live: Mapping[str, Any], manifest: Mapping[str, Any]) -> str | None:
    """Name the tool whose marks a live object carries, unless the manifest itself sets them."""
    for tool, where, wanted in FOREIGN_MARKS:
        part, _, key = where.partition(":")
        value = (live["metadata"].get(part) or {}).get(key)
        theirs = (manifest["metadata"].get(part) or {}).get(key)
        if value is not None and wanted in (None, value) and theirs != value:
            return tool
    return None


def may_take(live: Mapping[str, Any], d: Desired, me: SyncKey, claimed: SyncKey | None) -> Change | None:
    """Judge whether an existing object may be written: None if so, else the refusal.

    `claimed` is whose inventory has it. Another Sync's is contested; ours, nobody's, a copy, or left by a Sync
    that let go or is gone may be taken. Helm's, Flux's or Argo CD's: only when annotated `setpoint.dev/adopt: "true"`.
    """
    annotations = live["metadata"].get("annotations") or {}
    if claimed is not None and claimed != me:
        return Change(d.id, Action.REFUSE, Reason.Contested, f"{d.id.label()} belongs to Sync {claimed}")
    if owner_of(annotations, d.id) == me:
        return None
    wish = (d.manifest["metadata"].get("annotations") or {}).get(names.ANNOTATION_ADOPT)
    if "true" in (annotations.get(names.ANNOTATION_ADOPT), wish):
        return None
    if tool := foreign_tool(live, d.manifest):
        text = f'{d.where}: {d.id.label()} belongs to {tool}; annotate it {names.ANNOTATION_ADOPT}: "true" to take it over'
        return Change(d.id, Action.REFUSE, Reason.Foreign, text)
    return None


def is_ours(live: Mapping[str, Any], oid: ObjectId, me: SyncKey) -> bool:
    """Tell whether a live object is this Sync's, by its self-naming annotation."""
    return owner_of(live["metadata"].get("annotations") or {}, oid) == me


# --- what differs ---------------------------------------------------------------------------------


def comparable(obj: Mapping[str, Any]) -> Manifest:
    """Give an object without the server's bookkeeping, status and stamps: what a person would compare."""
    meta = {k: v for k, v in obj["metadata"].items() if k not in BOOKKEEPING}
    if annotations := meta.get("annotations"):
        rest = {k: v for k, v in annotations.items() if k not in STAMPS}
        meta = (
            {**meta, "annotations": rest} if rest else {k: v for k, v in meta.items() if k != "annotations"}
        )
    return {**{k: v for k, v in obj.items() if k not in ("metadata", "status")}, "metadata": meta}


def difference(live: Mapping[str, Any], predicted: Mapping[str, Any]) -> tuple[Operation, ...]:
    """Give the JSON Patch from live to predicted; empty if they are equal.

    `==` first (a make_patch of equal objects costs 100 times more), and no `move`s between unrelated paths.
    """
    left, right = comparable(live), comparable(predicted)
    if left == right:
        return ()
    return tuple(jsonpatch.JsonPatch.from_diff(left, right, optimization=False).patch)


def matches(rule: IgnoreRule, oid: ObjectId) -> bool:
    """Tell whether an ignore rule is for this object."""
    t = rule.target
    wanted = ((t.group, oid.group), (t.kind, oid.kind), (t.name, oid.name), (t.namespace, oid.namespace))
    return all(w is None or w == actual for w, actual in wanted)


def with_ignored(
    manifest: Manifest, live: Mapping[str, Any] | None, rules: Sequence[IgnoreRule], oid: ObjectId
) -> Manifest:
    """Give the manifest to send: ignored paths carry the live value (Git's where there is no live object).

    Leaving the path out instead would give the field up, and the server would reset it (`notes/apply.md`).
    """
    if live is None:
        return manifest
    for rule in rules:
        if matches(rule, oid):
            for path in rule.paths:
                manifest = _carry(manifest, live, _tokens(path))
    return manifest


def _tokens(path: str) -> list[str]:
    return [t.replace("~1", "/").replace("~0", "~") for t in path.split("/")[1:]]


_ABSENT = object()


def _carry(node: Any, live: Any, tokens: list[str]) -> Any:
    head, rest = tokens[0], tokens[1:]
    theirs = _child(live, head)
    if isinstance(node, list):
        if not head.isdigit() or int(head) >= len(node) or theirs is _ABSENT:
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
    if theirs is _ABSENT:
        return {k: v for k, v in node.items() if k != head}
    return {**node, head: theirs}


def _child(node: Any, token: str) -> Any:
    if isinstance(node, dict):
        return node.get(token, _ABSENT)
    if isinstance(node, list) and token.isdigit() and int(token) < len(node):
        return node[int(token)]
    return _ABSENT


def foreign_additions(
    live: Mapping[str, Any], rules: Sequence[IgnoreRule], oid: ObjectId, people: frozenset[str]
) -> tuple[tuple[fields.Path, Any], ...]:
    """Find what persons added to an object of ours: (path, value), ignored paths and operations left out."""
    managed = live["metadata"].get("managedFields") or []
    persons = fields.person_entries(managed, people)
    if not persons:
        return ()
    others: fields.FieldSet = {}
    theirs: fields.FieldSet = {}
    for entry in managed:
        trie = entry.get("fieldsV1") or {}
        if entry in persons:
            theirs = fields.union(theirs, trie)
        else:
            others = fields.union(others, trie)
    ignored = [_tokens(p) for r in rules if matches(r, oid) for p in r.paths]
    found = fields.additions(live, theirs, others)
    return tuple((p, v) for p, v in found if not fields.is_kept(p) and not _is_ignored(p, ignored))


def _is_ignored(path: fields.Path, ignored: list[list[str]]) -> bool:
    tokens = [s.token for s in path]
    return any(tokens[: len(i)] == i for i in ignored)


def culprit(
    live: Mapping[str, Any], patch: Iterable[Operation], additions: Iterable[tuple[fields.Path, Any]]
) -> str | None:
    """Name the field manager that last wrote any of the differing paths; None if no trace is left.

    A removed field leaves no trace in managedFields, so there is nobody to name then.
    """
    paths = [op["path"] for op in patch] + [fields.pointer(p) for p, _ in additions]
    best: tuple[str, str] | None = None
    for entry in live["metadata"].get("managedFields") or []:
        if entry.get("manager") in (names.FIELD_MANAGER, names.ADOPTED_MANAGER):
            continue
        owned = fields.pointers(live, entry.get("fieldsV1") or {})
        if any(_overlap(p, o) for p in paths for o in owned):
            best = max(best or ("", ""), (entry.get("time", ""), entry.get("manager", "")))
    return best[1] if best else None


def _overlap(left: str, right: str) -> bool:
    return left == right or left.startswith(right + "/") or right.startswith(left + "/")


def judge(
    d: Desired,
    live: Mapping[str, Any] | None,
    predicted: Mapping[str, Any],
    me: SyncKey,
    rules: Sequence[IgnoreRule],
    people: frozenset[str],
    *,
    handed: bool = False,
) -> Change:
    """Say what one object needs, from its live state (None: absent) and the server's prediction.

    `handed`: another Sync hands it over, so that what persons added to it is drift, and not theirs to keep.
    """
    if live is None:
        return Change(d.id, Action.CREATE, Reason.Missing, "is not in the cluster")
    patch = difference(live, predicted)
    if not is_ours(live, d.id, me) and not handed:
        return Change(d.id, Action.ADOPT, Reason.Adopted, "existed and is adopted", patch)
    additions = foreign_additions(predicted, rules, d.id, people)
    if not patch and not additions and fields.own_entry(live["metadata"].get("managedFields") or ()):
        return Change(d.id, Action.KEEP)
    shown = (*patch, *({"op": "remove", "path": fields.pointer(p)} for p, _ in additions))
    return Change(
        d.id,
        Action.PATCH,
        Reason.OutOfSync,
        describe(shown),
        shown,
        additions,
        culprit(live, patch, additions),
        value_at(live, shown[0]["path"]) if shown else None,
        bool(patch) and not additions and written_by_us(live, patch),
    )


def written_by_us(live: Mapping[str, Any], patch: Sequence[Operation]) -> bool:
    """Tell whether we own every differing field that is there: whoever else had written one would own it now.

    A field that is missing leaves no trace, so a patch that only adds is not taken for our own work.
    """
    entry = fields.own_entry(live["metadata"].get("managedFields") or ())
    there = [op["path"] for op in patch if op["op"] != "add"]
    if entry is None or not there:
        return False
    owned = fields.pointers(live, entry.get("fieldsV1") or {})
    return all(any(_overlap(p, o) for o in owned) for p in there) and culprit(live, patch, ()) is None


def value_at(obj: Any, path: str) -> str | int | float | bool | None:
    """Give the scalar at a JSON Pointer; None if there is none."""
    for token in _tokens(path):
        obj = _child(obj, token)
    return obj if isinstance(obj, str | int | float | bool) else None


def describe(patch: Sequence[Operation]) -> str:
    """Say in a few words what a patch touches."""
    paths = [op["path"] for op in patch]
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return f"differs at {', '.join(paths[:3])}{more}" if paths else ""


# --- what goes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PrunePolicy:
    """What a commit may delete: whether at all, and how many (`limit`: a number, or a share such as `25%`)."""

    prune: bool
    limit: int | str


@dataclass(frozen=True, slots=True)
class Prune:
    """What happens to objects that left Git.

    `delete`, `refuse` (stays in the inventory), `release` (leaves it), `lend` (is another Sync's to take, and stays
    until that has written it).
    """

    delete: tuple[ObjectId, ...] = ()
    refuse: Mapping[ObjectId, str] = field(default_factory=dict)
    release: Mapping[ObjectId, str] = field(default_factory=dict)
    lend: frozenset[ObjectId] = frozenset()
    message: str = ""


def limit_of(limit: int | str, total: int) -> int:
    """Give the most objects that may go: the number itself, or the share of `total` but at least 5."""
    if isinstance(limit, int):
        return limit
    return max(LEAST_LIMIT, total * int(limit.rstrip("%")) // 100)


def prune(
    inventory: frozenset[ObjectId],
    desired: frozenset[ObjectId],
    live: Mapping[ObjectId, Observed],
    me: SyncKey,
    wanted_by: Mapping[ObjectId, SyncKey],
    policy: PrunePolicy,
) -> Prune:
    """Decide about inventory minus desired. Nothing outside the inventory is ever named.

    `live` holds what still exists of the candidates; `wanted_by` names other Syncs that own or wait for an object.
    """
    left = handed_over(inventory - desired, live, me, wanted_by)
    release, lend = dict(left.release), left.lend
    refuse: dict[ObjectId, str] = {}
    delete: list[ObjectId] = []
    for oid in sorted(inventory - desired - lend - release.keys()):
        seen = live[oid]
        if not policy.prune or seen.annotations.get(names.ANNOTATION_PRUNE) == "never":
            release[oid] = "stays, as it may not be pruned"
        elif (oid.group, oid.kind) in PROTECTED and seen.annotations.get(names.ANNOTATION_PRUNE) != "allow":
            refuse[oid] = (
                f"is no longer in Git and is kept: annotate it {names.ANNOTATION_PRUNE}: allow to delete it, or never to let go of it"
            )
        elif not seen.deleting:
            delete.append(oid)
    message = _beyond_limits(delete, inventory, desired, policy)
    if message:
        refuse = {**refuse, **dict.fromkeys(delete, "is no longer in Git and is kept")}
        delete = []
    elif refuse:
        first = next(iter(sorted(refuse)))
        message = f"{first.label()} {refuse[first]}"
    return Prune(tuple(delete), refuse, release, lend, message)


def handed_over(
    leftover: Iterable[ObjectId],
    live: Mapping[ObjectId, Observed],
    me: SyncKey,
    wanted_by: Mapping[ObjectId, SyncKey],
) -> Prune:
    """Decide what of objects that are wanted no more can go at any time, as nothing is deleted by it.

    What is gone or another's by now is released, and what another wants is lent; the rest is for `prune` to decide.
    """
    release: dict[ObjectId, str] = {}
    lend: set[ObjectId] = set()
    for oid in leftover:
        seen = live.get(oid)
        if seen is None:
            release[oid] = "is gone"
        elif seen.owner != me:
            release[oid] = (
                f"is handed over to Sync {seen.owner}" if seen.owner else "no longer names this Sync"
            )
        elif oid in wanted_by:
            lend.add(oid)
    return Prune(release=release, lend=frozenset(lend))


def _beyond_limits(
    delete: Sequence[ObjectId],
    inventory: frozenset[ObjectId],
    desired: frozenset[ObjectId],
    policy: PrunePolicy,
) -> str:
    if delete and not desired:
        return f"would delete all {len(inventory)} objects, as the commit has none"
    if len(delete) > limit_of(policy.limit, len(inventory)):
        return f"would delete {len(delete)} of {len(inventory)} objects (limit {policy.limit})"
    return ""
