"""What this process knows of all Syncs together, and which of them an event wakes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from setpoint.api.formats import rfc3339_millis
from setpoint.api.reasons import Reason
from setpoint.objects.bodies import Body, key_of, source_key
from setpoint.objects.identity import ObjectId, SyncKey, sync_label
from setpoint.objects.inventory import ungrouped
from setpoint.objects.observed import Departure, Observed
from setpoint.runtime.workqueue import WorkQueue
from setpoint.sources.changes import Changes
from setpoint.status.conditions import condition_of
from setpoint.status.outcome import SyncState
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.store.prune_barrier import Barrier
from setpoint.syncs.memory import Memory
from setpoint.syncs.run import provisional
from setpoint.watch.observations import LiveChange, passing

SMALL = 200
PACE = 0.0002
LONGEST_PACE = 1.0
"""News of health wait so many seconds for each object of a Sync, if it has more than a few."""


GRACE_SECONDS = 300.0
"""For how long after the start deletions wait for a Sync of which not all that it may take is known."""


PATIENCE_SECONDS = 15.0
"""For how long a deletion waits for Syncs of other namespaces; then only what they may write waits for them."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """A Sync that a deletion waits for, and why.

    `doubted`: those that nobody waits for any longer, but that only those objects wait for which they may write.
    """

    key: SyncKey
    why: str
    unseen: bool = False
    doubted: tuple[SyncKey, ...] = ()
    again: float | None = None
    """After how many seconds at most to look again."""

    def words(self, home: str) -> str:
        """Return the sentence for a Sync of the namespace `home` that waits; a stranger's name is not told."""
        who = f"Sync {self.key}" if self.key.namespace == home else "a Sync of another namespace"
        return f"before anything is deleted, {who} must have {self.why}"


class Dispatcher:
    """The memory of each Sync, and who waits for whom. All of it is a cache."""

    def __init__(
        self,
        store: Store,
        claims: Claims,
        cluster_id: str,
        queue: WorkQueue[SyncKey],
    ) -> None:
        """`queue` is that of the Syncs."""
        self._store, self._claims, self._cluster_id, self._queue = store, claims, cluster_id, queue
        self._memory: dict[SyncKey, Memory] = {}
        self._detected: dict[SyncKey, dict[ObjectId, str]] = {}
        self._departed: dict[SyncKey, dict[ObjectId, Departure]] = {}
        self._labels: dict[str, SyncKey] = {}
        self._barrier = Barrier()
        self._dropped: dict[SyncKey, SyncKey] = {}
        self._grace_until: float | None = None
        self._waiting: dict[SyncKey, float] = {}

    def memory(self, key: SyncKey) -> Memory:
        """Return the memory of a Sync; a new one where there is none."""
        return self._memory.setdefault(key, Memory())

    def label(self, key: SyncKey) -> str:
        """Return the value of our label on a Sync's objects."""
        return sync_label(self._cluster_id, key)

    def wake(self, keys: Iterable[SyncKey]) -> None:
        """Put Syncs into the queue."""
        for key in keys:
            self._queue.add(key)

    def seen(self, body: Body) -> None:
        """Note a Sync that the watch or a list brought, with its claims."""
        key = key_of(body)
        self._labels[self.label(key)] = key
        if _rests(body):
            self._barrier.drop(key)
            self.wake(self._barrier.released())
        else:
            self._barrier.expect(key, source_key(body))
        if key not in self._memory:
            state = body.get("status") or {}
            untried = provisional(state)
            self.record(key, (o for o in ungrouped(state.get("inventory") or []) if o not in untried))
            if not _rests(body) and is_current(body):
                self.want(key, wanted_in(state))

    def record(self, key: SyncKey, inventory: Iterable[ObjectId], lent: Iterable[ObjectId] = ()) -> None:
        """Record what a Sync has, and what of it is `lent`; wakes those that waited for what it released."""
        self.wake(self._claims.record(key, inventory, lent))

    def want(self, key: SyncKey, wanted: Iterable[ObjectId], near: Iterable[ObjectId] = ()) -> None:
        """Note what a Sync waits for, `near` of it for its own namespace alone; wakes who kept what it wants no more."""
        self.wake(self._claims.want(key, wanted, near))

    def lent(self, key: SyncKey) -> frozenset[ObjectId]:
        """Return what a Sync has in its stored inventory and left to others."""
        return self._claims.lent(key)

    def gone(self, key: SyncKey, uid: str) -> None:
        """Forget a Sync of this `uid`, which has just been let go."""
        self._store.drop_sync(key, uid)
        self.forget(key)

    def forget(self, key: SyncKey) -> None:
        """Forget a Sync that is gone, and wake those who may have waited for that.

        One that was made under its name meanwhile begins anew.
        """
        self._memory.pop(key, None)
        self._waiting.pop(key, None)
        self._detected.pop(key, None)
        self._departed.pop(key, None)
        self.drop(key, ())
        self._barrier.leave(key)
        self._barrier.drop(key)
        self._labels.pop(self.label(key), None)
        waiters = self._claims.drop(key) | set(self._store.dependents(key))
        if (again := self._store.syncs.get(key)) is not None:
            self.seen(again)
            waiters |= {key}
        self.wake(waiters | self._barrier.released())

    # --- nested Syncs

    def drop(self, parent: SyncKey, children: Collection[SyncKey]) -> None:
        """Note which Syncs a commit of another dropped, all of them; wakes those for whom that is news."""
        before = {child for child, by in self._dropped.items() if by == parent}
        for child in before.difference(children):
            del self._dropped[child]
            self.drop(child, ())
        self._dropped |= dict.fromkeys(children, parent)
        self.wake(before.symmetric_difference(children))

    def dropped(self, key: SyncKey) -> bool:
        """Return whether a commit of another Sync dropped this one, as far as is known since start."""
        return key in self._dropped

    def shrunk(self, key: SyncKey) -> None:
        """Wake the Syncs whose commit dropped this one, as it has other objects now: it may go when it has none."""
        above = {key}
        while (parent := self._dropped.get(key)) is not None and parent not in above:
            above.add(key := parent)
            self.wake([parent])

    def evaluated_at(self, key: SyncKey, generation: int) -> bool:
        """Return whether a Sync was evaluated at this generation of its spec."""
        memory = self._memory.get(key)
        evaluated = memory.seen_commit.evaluated if memory is not None else None
        return evaluated is not None and evaluated[1] == generation

    @staticmethod
    def rests(body: Body) -> bool:
        """Return whether a Sync wants nothing: it is suspended, or on its way out."""
        return _rests(body)

    # --- live objects

    def live_changed(self, change: LiveChange) -> None:
        """Take a change of a live object, as those who watch tell of it."""
        if change.went is not None and change.before is not None:
            self._note_departure(change.before.sync_label, change.oid, change.went)
        self.changed(change.oid, change.before, change.after)

    def _note_departure(self, label: str, oid: ObjectId, went: Departure) -> None:
        key = self._labels.get(label)
        if key is not None:
            at = int(datetime.now(UTC).timestamp()) if went.at is None else went.at
            self._departed.setdefault(key, {})[oid] = replace(went, at=at)

    def departed(self, key: SyncKey) -> Mapping[ObjectId, Departure]:
        """Return how objects of a Sync went that may end by themselves, until that is `noted`."""
        return self._departed.get(key, {})

    def noted(self, key: SyncKey, done: Iterable[ObjectId]) -> None:
        """Note that it is held in the status how objects went; those that are `done` did not drift."""
        self._departed.pop(key, None)
        self.settled(key, done)

    def changed(self, oid: ObjectId, before: Observed | None, after: Observed | None) -> None:
        """Wake the Syncs that a change of a live object concerns, and note when it was seen."""
        for label in {o.sync_label for o in (before, after) if o is not None}:
            key = self._labels.get(label)
            if key is not None:
                self._note_drift(key, oid, after)
                self._queue.add_after(key, self._pace(key) if passing(before, after) else 0.0)

    def _pace(self, key: SyncKey) -> float:
        """Return for how long news of health gather: a Sync of thousands of objects would run for each of them."""
        memory = self._memory.get(key)
        target = memory.built.target if memory else None
        count = len(target.refs) if target else 0
        return min(LONGEST_PACE, PACE * count) if count > SMALL else 0.0

    def _note_drift(self, key: SyncKey, oid: ObjectId, after: Observed | None) -> None:
        memory = self._memory.get(key)
        base = memory.account.baselines.get(oid) if memory else None
        if base is None:
            return
        if after is None or base.ownership != after.ownership or after.owner != key:
            self._detected.setdefault(key, {}).setdefault(oid, rfc3339_millis(datetime.now(UTC)))

    def detected(self, key: SyncKey) -> Mapping[ObjectId, str]:
        """Return which objects of a Sync were seen to drift, each with the time, until they are `settled`."""
        return self._detected.get(key, {})

    def settled(self, key: SyncKey, oids: Iterable[ObjectId]) -> None:
        """Note that objects of a Sync are as they should be."""
        for oid in oids:
            self._detected.get(key, {}).pop(oid, None)

    # --- commits

    def evaluated(self, key: SyncKey, sha: str | None, generation: int) -> None:
        """Record that a Sync saw this commit: those that wait to prune may go on, and dependents once its status says so."""
        memory = self.memory(key)
        memory.seen_commit = memory.seen_commit.at(sha or "", generation)
        body = self._store.syncs.get(key)
        if body is not None and not _rests(body):
            self._barrier.seen(key, source_key(body), sha or "")
        self.wake(self._barrier.released())

    def told(self, key: SyncKey) -> None:
        """Record that the stored status is that of the last run, so dependents may rely on it."""
        memory = self.memory(key)
        if not memory.seen_commit.told:
            memory.seen_commit = replace(memory.seen_commit, told=True)
            self.wake(self._store.dependents(key))

    def looks(self, source: SyncKey) -> Mapping[SyncKey, str]:
        """Return the read sets of the Syncs of a Source, by their ids."""
        users = self._store.users(source)
        found = {key: memory.built.read_set for key in users if (memory := self._memory.get(key))}
        return {key: read_set for key, read_set in found.items() if read_set}

    def commit_changed(self, source: SyncKey, before: str, after: str, changes: Changes) -> None:
        """Handle a Source's step from one commit to another: wake the Syncs that it may concern; the others take the commit over.

        Whoever stands quietly at the former commit and is not touched would find nothing to do at the new one, or fail
        as before; it is tried again in its own time, or now if there is no new commit, as somebody asked then. The same
        commit is another one if submodules are fetched, or no more. Those that the commit is for come first.
        """
        touched: list[SyncKey] = []
        others: list[SyncKey] = []
        for key in self._store.users(source):
            memory = self._memory.get(key)
            at = memory.stands_at(self._generation(key)) if memory and not self._queue.busy(key) else None
            if (
                memory
                and at == before
                and changes.spares(key, memory.built.read_set)
                and not (memory.standing.failing and at == after)
            ):
                memory.seen_commit = memory.seen_commit.move(after)
                self._barrier.seen(key, source, after)
            elif at != after or before == after or (memory and memory.standing.failing):
                (touched if at == before else others).append(key)
        self.wake([*touched, *others])
        self.wake(self._barrier.released())

    def take_move(self, key: SyncKey) -> tuple[str, str] | None:
        """Return between which commits a Sync went without a run since its last one, as (from, to); it is told once."""
        memory = self.memory(key)
        moved = memory.seen_commit.moved
        if moved is not None:
            memory.seen_commit = replace(memory.seen_commit, moved=None)
        return moved

    def unsettled(self, source: SyncKey) -> list[SyncKey]:
        """Return the Syncs of a Source that have work left to do."""
        users = self._store.users(source)
        return [key for key in users if not ((memory := self._memory.get(key)) and memory.rests)]

    def _generation(self, key: SyncKey) -> int:
        return int(self._store.syncs[key]["metadata"].get("generation", 0))

    def has_seen(self, key: SyncKey, sha: str | None, generation: int) -> bool:
        """Return whether a Sync was evaluated at this generation, and at this commit if one is given, and says so."""
        memory = self._memory.get(key)
        state = memory.seen_commit.evaluated if memory and memory.seen_commit.told else None
        return state is not None and state[1] == generation and (sha is None or state[0] == sha)

    def barrier(self, key: SyncKey, source: SyncKey, sha: str | None, now: float = 0.0) -> Blocker | None:
        """Return a Sync that a prune of `key` waits for; None if it may go. The waiter is woken when it may.

        Every Sync must have been seen once since start, and those of the same Source at this commit. Those of other
        namespaces have a while for it. `now` is in seconds of the event loop's clock.
        """
        other = self._barrier.blocker(key, source, sha)
        if other is None:
            self._waiting.pop(key, None)
            return None
        left = self._waiting.setdefault(key, now) + PATIENCE_SECONDS - now
        doubtful = self._barrier.doubtful(key)
        if left > 0:
            if other in doubtful:
                return self._blocker(other, doubtful, None)
            return self._blocker(other, (), left if other.namespace != key.namespace else None)
        every = self._barrier.blockers(key, source, sha)
        near = next((o for o in every if o.namespace == key.namespace and o not in doubtful), None)
        if near is not None:
            return self._blocker(near, (), PATIENCE_SECONDS)
        return self._blocker(other, every, None)

    def _blocker(self, other: SyncKey, doubted: tuple[SyncKey, ...], again: float | None) -> Blocker:
        unseen = self._barrier.is_unseen(other)
        why = "been evaluated once since the operator started" if unseen else "seen this commit"
        return Blocker(other, why, unseen, doubted, again)

    def cannot_evaluate(self, body: Mapping[str, Any], now: float) -> float | None:
        """Record that a Sync cannot be evaluated although its Source was asked, or may not be asked.

        It counts as seen where its status is of its present generation: what it may still take stands there. Else it
        is in doubt until some minutes after the start. Returns how many seconds are left, None if it counts as seen.
        `now` is in seconds of the event loop's clock.
        """
        key = key_of(body)
        left = (self._grace_until or 0.0) - now
        if is_current(body) or left <= 0:
            self._barrier.excuse(key, source_key(body))
            self.wake(self._barrier.released())
            return None
        if self._barrier.doubt(key):
            self.wake([*self._barrier.released(), *self._barrier.waiters()])
        return left if self._barrier.is_unseen(key) else None

    def started(self, now: float) -> None:
        """Record when this process began to work, in seconds of the event loop's clock."""
        self._grace_until = now + GRACE_SECONDS


def is_current(body: Mapping[str, Any]) -> bool:
    """Return whether a Sync's status is of the present generation of its spec."""
    state = body.get("status") or {}
    # A bug ended that run: nobody knows what it would have found.
    broken = (condition_of(state, "Ready") or {}).get("reason") == str(Reason.InternalError)
    return bool(state.get("observedGeneration") == body["metadata"].get("generation", 0)) and not broken


def wanted_in(state: Mapping[str, Any]) -> frozenset[ObjectId]:
    """Return what a status says that a Sync waits for; one of an older version says it in its differences."""
    if "wants" in state:
        return frozenset(ungrouped(state["wants"]))
    contested = [d for d in state.get("differences") or [] if d.get("sync") == str(SyncState.CONTESTED)]
    named = ({**d, "names": [d["name"]]} for d in contested)
    return frozenset(ungrouped(named))


def _rests(body: Body) -> bool:
    return "deletionTimestamp" in body["metadata"] or bool((body.get("spec") or {}).get("suspend"))
