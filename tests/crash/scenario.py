"""One world through install, upgrade, prune, hand-over and delete, with kills on the way, and checks after each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from random import Random

from tests.crash import content as git
from tests.crash.checks import Id, Wanted, cluster_equals_commit, marked, record_is_right
from tests.crash.content import SYNCS, Content
from tests.crash.killable import KillableOperator
from tests.crash.killer import Killer, Point, draw
from tests.e2e.conftest import World
from tests.kit.api import Json, is_ready, says

PHASES = ("install", "upgrade", "prune", "hand-over", "delete")
EXTRAS = (None, git.with_immutable, git.with_kind, git.with_namespace)
SECONDS = 90.0
TWICE = 0.3  # of the kills are followed by one of the life after
STARTING = 20  # requests of a start

Change = Callable[[Content, int], None]


class Scenario:
    """See the module. `cycle` goes once through all phases; `told` says what was done so far."""

    def __init__(self, world: World, operator: KillableOperator, killer: Killer, random: Random) -> None:
        self._world, self._operator, self._killer, self._random = world, operator, killer, random
        self._content, self._commits = Content(world.target), list[str]()
        self._held: dict[str, dict[Id, Json]] = {}
        self._step = self._asked = self._budget = 0
        self._left: set[Id] = set()
        self._measured: dict[str, tuple[int, float]] = {}
        self.told, self.kills = list[str](), dict.fromkeys(PHASES, 0)
        world.source()
        self._strangers = self._make_strangers()

    def cycle(self, most: int, extra: Change | None = None) -> None:
        """Go through all phases, with `most` kills at most."""
        self._budget = most
        self._depends = self._random.random() < 0.3
        self.told.append(f"extra: {extra.__name__ if extra else 'none'}, two depends on one: {self._depends}")
        self._change(git.installed)
        self._left -= {oid for sync in SYNCS for oid in self._content.objects(sync)}
        self._phase("install", self._install)
        self._upgrade(extra)
        self._change(git.pruned)
        self._left.add(("ConfigMap", self._world.target, "guarded"))
        self._phase("prune", self._commit)
        self._change(git.handed_over)
        self._phase("hand-over", self._commit)
        self._delete()

    def scene(self) -> str:
        """What all Syncs say now, for a person who looks for a cause."""
        found = self._world.api.list("Sync", self._world.namespace)
        return "\n".join(f"{o['metadata']['name']}: {json.dumps(o.get('status'))}" for o in found)

    # --- phases

    def _change(self, *changes: Change) -> None:
        self._step += 1
        for each in changes:
            each(self._content, self._step)

    def _phase(self, name: str, act: Callable[[], None], may_be_new: frozenset[Id] = frozenset()) -> None:
        """Do something under fire; afterwards every Sync is at the last commit."""
        uids = self._uids()
        self._under_fire(name, act, self._settled)
        self._held = {sync: self._content.objects(sync) for sync in SYNCS}
        found = self._check_objects(uids, may_be_new)
        for sync in SYNCS:
            self._check_record(sync, frozenset(name for _, _, name in may_be_new))
        assert found

    def _install(self) -> None:
        self._commit()
        self._world.until("Source", "src", self._is_fetched, seconds=SECONDS)
        for sync in SYNCS:
            spec: Json = {"dependsOn": [{"name": "one"}]} if sync == "two" and self._depends else {}
            spec |= {"deletionPolicy": "Orphan"} if sync == "kept" else {}
            self._world.sync(sync, path=sync, **spec)

    def _commit(self) -> None:
        self._commits.append(self._world.repo.commit(self._content.files(), f"Step {self._step}"))

    def _upgrade(self, extra: Change | None) -> None:
        if extra is not git.with_immutable:
            self._change(git.upgraded, *([extra] if extra else []))
            self._phase("upgrade", self._commit)
            return
        self._change(git.upgraded, extra)
        uids = self._uids()
        self._under_fire("upgrade", self._commit, self._stuck)
        self._held |= {sync: self._content.objects(sync) for sync in ("one", "kept")}
        self._check_objects(uids)  # of `two`, what was applied before is held
        fixed = ("ConfigMap", self._world.target, "fixed")
        remove = lambda: self._world.api.delete("ConfigMap", self._world.target, "fixed")  # noqa: E731
        self._phase("upgrade", remove, frozenset({fixed}))

    def _delete(self) -> None:
        uids = self._uids()
        self._left |= set(self._content.objects("kept"))
        kept = self._held["kept"]
        self._held = {}
        self._under_fire("delete", self._delete_syncs, self._all_gone)
        found = self._check_objects(uids)
        assert kept.keys() <= found.keys(), "an orphaned object is gone"

    def _delete_syncs(self) -> None:
        for sync in SYNCS:
            self._world.api.delete("Sync", self._world.namespace, sync)

    # --- under fire

    def _under_fire(self, name: str, act: Callable[[], None], settled: Callable[[], None]) -> None:
        """Do something, be killed on the way, and wait until all has settled, also after the last restart."""
        points, before = self._points(name), self._operator.kills
        self.told.append(f"{name}, to be killed {', then '.join(map(str, points)) or 'never'}")
        began = time.monotonic()
        self._killer.arm(points)
        act()
        settled()
        self._measured.setdefault(name, (self._killer.seen, time.monotonic() - began))
        self._killer.finish()
        self.told += [f"  killed {each}" for each in self._killer.done]
        self.kills[name] += self._operator.kills - before
        self._operator.reborn()
        self._seen_again()
        settled()
        assert not self._operator.accidents, self._operator.accidents

    def _points(self, name: str) -> list[Point]:
        """Draw when to kill; nothing is, before it was measured what there is to hit."""
        count = 0 if name not in self._measured else 1 + (self._random.random() < TWICE)
        points = [
            draw(self._random, self._measured[name][0] + STARTING * number, self._measured[name][1])
            for number in range(min(count, self._budget))
        ]
        self._budget -= len(points)
        return points

    def _seen_again(self) -> None:
        """Have the present life look at everything once: a kill in the last moment leaves it nothing to do."""
        self._asked += 1
        value = str(self._asked)
        answered = lambda o: o and (o.get("status") or {}).get("requested") == value  # noqa: E731
        for kind, names in (("Source", ("src",)), ("Sync", SYNCS if self._held or self._alive() else ())):
            for each in names:
                self._world.ask(kind, each, value)
            for each in names:
                self._world.until(kind, each, answered, seconds=SECONDS)

    def _alive(self) -> bool:
        return bool(self._world.api.list("Sync", self._world.namespace))

    def _settled(self) -> None:
        for sync in SYNCS:
            self._world.until("Sync", sync, self._ready_at_last, seconds=SECONDS)

    def _stuck(self) -> None:
        for sync in ("one", "kept"):
            self._world.until("Sync", sync, self._ready_at_last, seconds=SECONDS)
        self._world.until("Sync", "two", self._says_immutable, seconds=SECONDS)

    def _all_gone(self) -> None:
        for sync in SYNCS:
            self._world.until("Sync", sync, lambda o: o is None, seconds=SECONDS)

    def _ready_at_last(self, sync: Json | None) -> bool:
        applied = ((sync or {}).get("status") or {}).get("applied") or {}
        return is_ready(sync) and str(applied.get("revision")).endswith(self._commits[-1])

    def _is_fetched(self, source: Json | None) -> bool:
        status = (source or {}).get("status") or {}
        return str(status.get("revision")).endswith(self._commits[-1])

    def _says_immutable(self, sync: Json | None) -> bool:
        desired = ((sync or {}).get("status") or {}).get("desired") or {}
        return says("Immutable")(sync) and str(desired.get("revision")).endswith(self._commits[-1])

    # --- checks

    def _uids(self) -> dict[Id, str]:
        return {
            oid: str(o["metadata"]["uid"])
            for oid, (_, o) in marked(self._world.api, self._world.namespace).items()
        }

    def _check_objects(
        self, uids: dict[Id, str], may_be_new: frozenset[Id] = frozenset()
    ) -> dict[Id, tuple[str, Json]]:
        found = marked(self._world.api, self._world.namespace)
        wanted = [Wanted(sync, objects, ()) for sync, objects in self._held.items()]
        cluster_equals_commit(found, wanted, self._left)
        assert not (gone := self._left - found.keys()), f"should have stayed: {gone}"
        anew = [
            o
            for o, (_, obj) in found.items()
            if uids.get(o, obj["metadata"]["uid"]) != obj["metadata"]["uid"]
        ]
        assert set(anew) <= may_be_new, f"deleted and made again: {anew}"
        assert self._versions() == self._strangers, "an object of somebody else was touched"
        return found

    def _check_record(self, sync: str, log: frozenset[str]) -> None:
        body = self._world.api.get("Sync", self._world.namespace, sync)
        wanted = Wanted(sync, self._held[sync], tuple(self._commits), None if log else 0, log)
        record_is_right(body, wanted)

    def _make_strangers(self) -> dict[str, str]:
        """Objects that are nobody's, one of which looks like ours."""
        label = {"labels": {"setpoint.dev/sync": "0123456789abcdef"}}
        for manifest in (git.config("stranger", k="1"), git.config("stranger2", label, k="1")):
            self._world.api.create("ConfigMap", self._world.target, manifest)
        return self._versions()

    def _versions(self) -> dict[str, str]:
        found = self._world.api.list("ConfigMap", self._world.target)
        return {
            o["metadata"]["name"]: o["metadata"]["resourceVersion"]
            for o in found
            if o["metadata"]["name"].startswith("stranger")
        }
