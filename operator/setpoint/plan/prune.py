"""Decides about what left Git: delete, refuse, release or lend (pure)."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from setpoint.api import names
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.observed import Observed
from setpoint.objects.users.references import KINDS, Name
from setpoint.objects.users.wants import NOTHING
from setpoint.plan.nested import Nested, is_sync
from setpoint.plan.order import is_namespace

PROTECTED = frozenset(
    {
        ("", "Namespace"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("", "PersistentVolume"),
        ("", "PersistentVolumeClaim"),
        (names.GROUP, "Sync"),
    }
)
"""Kinds that hold what a commit must not delete by a slip; a Sync holds all that it has."""
LEAST_LIMIT = 5
NO_SYNCS: Mapping[ObjectId, Nested] = {}
NOBODY: frozenset[ObjectId] = frozenset()
UNKNOWN_USERS = "is no longer in Git and stays until it is known who uses it"
REFUSED_USERS = f"{UNKNOWN_USERS}: the operator may not list pods, or what makes them, just now"


@dataclass(frozen=True, slots=True)
class Users:
    """Who uses objects that are to go: one user of each that has any. Of the `unknown` ones nobody can say it now."""

    found: Mapping[ObjectId, ObjectId] = field(default_factory=dict)
    unknown: frozenset[ObjectId] = NOBODY


@dataclass(frozen=True, slots=True)
class PrunePolicy:
    """What a commit may delete: whether at all, and how many (`limit`: a number, or a share such as `25%`)."""

    prune: bool
    limit: int | str


@dataclass(frozen=True, slots=True)
class Prune:
    """What happens to objects that left Git.

    `delete`, `in_use` (is deleted when nothing uses it any more), `refuse` (stays in the inventory), `release` (leaves
    it), `lend` (is another Sync's to take, and stays until that has written it).
    """

    delete: tuple[ObjectId, ...] = ()
    in_use: Mapping[ObjectId, str] = field(default_factory=dict)
    refuse: Mapping[ObjectId, str] = field(default_factory=dict)
    release: Mapping[ObjectId, str] = field(default_factory=dict)
    lend: frozenset[ObjectId] = frozenset()
    message: str = ""


def limit_of(limit: int | str, total: int) -> int:
    """Return the most objects that may go: the number itself, or the share of `total` but at least 5."""
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
    nested: Mapping[ObjectId, Nested] = NO_SYNCS,
    agreed: Container[ObjectId] = NOBODY,
) -> Prune:
    """Decide about inventory minus desired. Nothing outside the inventory is ever named.

    `live` holds what still exists of the candidates; `wanted_by` names other Syncs that own or wait for an object;
    `nested` says what goes with the Syncs among the candidates. What is `agreed` was within the limit of an earlier
    commit, and only stayed because it was used: it does not count again.
    """
    left = handed_over(inventory - desired, live, me, wanted_by)
    release, lend = dict(left.release), left.lend
    refuse: dict[ObjectId, str] = {}
    delete: list[ObjectId] = []
    for oid in sorted(inventory - desired - lend - release.keys()):
        seen = live[oid]
        if not policy.prune or seen.annotations.get(names.ANNOTATION_PRUNE) == "never":
            release[oid] = "stays, as it may not be pruned"
        elif is_sync(oid) and seen.deleting:
            continue  # whoever deleted it did, and it tells how far that is
        elif why := _protected(oid, seen.annotations, nested.get(oid)):
            refuse[oid] = f"is no longer in Git and is kept{why}"
        elif not seen.deleting:
            delete.append(oid)
    holding = _around(delete, refuse.keys() | lend)
    refuse |= {
        o: f"is no longer in Git and is kept, as {inside.label()} is in it" for o, inside in holding.items()
    }
    delete = [o for o in delete if o not in holding]
    counted = [o for o in delete if o not in agreed]
    message = _beyond_limits(counted, inventory, desired, policy, nested)
    if message:
        # What is agreed goes on its own way: were it refused too, it would count from then on.
        refuse = {**refuse, **dict.fromkeys(counted, "is no longer in Git and is kept")}
        delete = [o for o in delete if o in agreed]
    elif refuse:
        first = next(iter(sorted(refuse)))
        message = f"{first.label()} {refuse[first]}"
    return Prune(tuple(delete), refuse=refuse, release=release, lend=lend, message=message)


def in_question(decision: Prune) -> frozenset[ObjectId]:
    """Return what of the objects to delete may be used by pods, so that it must be known whether it is.

    What goes with its Namespace is not asked about: its pods go as well.
    """
    going = {o.name for o in decision.delete if is_namespace(o)}
    usable = (o for o in decision.delete if not o.group and o.kind in KINDS)
    return frozenset(o for o in usable if o.namespace not in going)


def without_used(decision: Prune, asked: Container[ObjectId], users: Users, home: str = "") -> Prune:
    """Return the same, but what is used stays, and what nobody knows of: what was not `asked` about, too.

    `home` is the namespace that need not be named.
    """
    in_use: dict[ObjectId, str] = {}
    for oid in sorted(in_question(decision)):
        if (user := users.found.get(oid)) is not None:
            in_use[oid] = f"is no longer in Git and stays while {user.label(home)} uses it"
        elif oid in users.unknown:
            in_use[oid] = REFUSED_USERS
        elif oid not in asked:
            in_use[oid] = UNKNOWN_USERS
    return replace(decision, delete=tuple(o for o in decision.delete if o not in in_use), in_use=in_use)


def users_in_git(objects: Iterable[ObjectId], workloads: Iterable[Observed]) -> Mapping[ObjectId, ObjectId]:
    """Return which workloads of Git use objects, or may, as long as their rollout is not complete.

    For where pods may not be read. Of what is named by a former template of a workload that was changed while nobody
    looked nothing is known, nor of one that names more than is remembered: it may be any object in its namespace.
    """
    by_name: dict[tuple[str, Name], ObjectId] = {}
    by_any: dict[str, ObjectId] = {}
    for seen in sorted(workloads, key=lambda o: o.id):
        if (rollout := seen.rollout) is None:
            continue
        earlier = NOTHING if rollout.complete else rollout.earlier
        if rollout.names is None or earlier is None:
            by_any.setdefault(seen.id.namespace, seen.id)
        for name in (rollout.names or NOTHING) | (earlier or NOTHING):
            by_name.setdefault((seen.id.namespace, name), seen.id)
    found = {o: by_name.get((o.namespace, (o.kind, o.name))) or by_any.get(o.namespace) for o in objects}
    return {o: user for o, user in found.items() if user is not None}


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
            release[oid] = _taken(me, seen.owner) if seen.owner else "no longer names this Sync"
        elif oid in wanted_by:
            lend.add(oid)
    return Prune(release=release, lend=frozenset(lend))


def _taken(me: SyncKey, by: SyncKey) -> str:
    return (
        f"is handed over to {f'Sync {by}' if by.namespace == me.namespace else 'a Sync of another namespace'}"
    )


def left_behind(
    candidates: Mapping[ObjectId, Mapping[str, str]],
    lent: Iterable[ObjectId],
    nested: Mapping[ObjectId, Nested],
) -> tuple[ObjectId, ...]:
    """Decide what a Sync leaves in the cluster that goes because a commit dropped it.

    `candidates`: its objects of protected kinds, with their annotations. Namespaces come first: they are kept for what
    is in them, which nobody knows any more once they are released.
    """
    kept = {o for o, annotations in candidates.items() if _protected(o, annotations, nested.get(o))}
    kept |= _around(candidates.keys() - kept, kept | set(lent)).keys()
    return tuple(sorted(kept, key=lambda o: (not is_namespace(o), o)))


def _protected(oid: ObjectId, annotations: Mapping[str, str], nested: Nested | None) -> str:
    """Return how it is kept, and the way on, if an object may not go by a commit; else an empty text."""
    if (oid.group, oid.kind) not in PROTECTED:
        return ""
    wish = annotations.get(names.ANNOTATION_PRUNE)
    if is_sync(oid) and (nested is None or nested.objects is None):
        return " until it is known what goes with it"
    if wish == "allow" or (nested is not None and nested.empty and wish != "never"):
        return ""
    return f": annotate it {names.ANNOTATION_PRUNE}: allow to delete it, or never to keep it for good"


def _around(delete: Iterable[ObjectId], stays: Iterable[ObjectId]) -> dict[ObjectId, ObjectId]:
    """Return the Namespaces to delete in which something stays, with the first of it: it would go with them."""
    inside: dict[str, ObjectId] = {}
    for oid in sorted(stays, reverse=True):
        inside[oid.namespace] = oid
    return {o: inside[o.name] for o in delete if is_namespace(o) and o.name in inside}


def _beyond_limits(
    delete: Sequence[ObjectId],
    inventory: frozenset[ObjectId],
    desired: frozenset[ObjectId],
    policy: PrunePolicy,
    nested: Mapping[ObjectId, Nested],
) -> str:
    """Return what is too much of what goes; the objects of a Sync that goes count like those of the inventory."""
    behind = sum(nested[o].objects or 0 for o in delete if o in nested)
    count, total = len(delete) + behind, len(inventory) + behind
    if delete and not desired:
        return f"would delete all {total} objects, as the commit has none"
    if count > limit_of(policy.limit, total):
        return f"would delete {count} of {total} objects (limit {policy.limit})"
    return ""
