"""One team of the soak: a repository, a Source, some Syncs, and random things that happen to them.

The team knows at any time what the cluster must equal once all is well again; `calm` makes it so, and `check` asserts it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from random import Random

from tests.crash import content as made
from tests.crash.checks import Id, Wanted, cluster_equals_commit, identify, marked, record_is_right
from tests.e2e.conftest import World
from tests.kit.api import Json, is_ready

SECONDS = 180.0
MOST_SYNCS, LEAST_SYNCS = 5, 2
OBJECTS = 8
BROKEN = "apiVersion: v1\nkind: ConfigMap\n\tmetadata: {}\n"
WIDGETS = ("customresourcedefinition-widgets.test.setpoint.dev.json", "widget-w.json")


class Team:
    """See the module. All choices come from `random`. Only a team with `kinds` brings a CRD, which has one owner."""

    def __init__(self, world: World, random: Random, *, kinds: bool) -> None:
        self.world, self._random, self._kinds = world, random, kinds
        self._git: dict[str, dict[str, Json]] = {}
        self._written: dict[str, str] = {}
        self._broken: set[str] = set()
        self._suspended: set[str] = set()
        self._commits = list[str]()
        self._number = 0
        self._edited: set[str] = set()
        self._uids: dict[Id, str] = {}
        self._renewed: set[Id] = set()
        self._moved: list[tuple[str, str, str]] = []
        self.world.source()
        for _ in range(MOST_SYNCS - 1):
            self.new_sync()

    def actions(self) -> list[tuple[int, Callable[[], None]]]:
        """What can happen, with its weight."""
        return [
            (8, self.change),
            (4, self.add),
            (4, self.remove),
            (3, self.move),
            (2, self.break_),
            (3, self.repair),
            (8, self.edit),
            (5, self.delete),
            (2, self.new_sync),
            (2, self.drop_sync),
            (2, self.suspend),
            (3, self.resume),
            (2, self.retarget),
            (1, self.toggle_kind),
        ]

    # --- commits

    def change(self) -> None:
        """Change a few objects of one Sync."""
        sync = self._any_sync()
        for name in self._some(sync, 3):
            self._git[sync][name] = self._config(name)
        self._commit()

    def add(self) -> None:
        """Add an object."""
        self._put(self._any_sync())
        self._commit()

    def remove(self) -> None:
        """Remove objects, fewer than the limit of pruning."""
        sync = self._any_sync()
        for name in self._some(sync, 2):
            if len(self._git[sync]) > 3:
                self._forget(sync, name)
        self._commit()

    def move(self) -> None:
        """Move an object from one Sync to another."""
        old, new = self._random.sample(sorted(self._git), 2)
        for name in self._some(old, 1):
            if len(self._git[old]) > 3 and not {old, new} & (self._suspended | self._broken):
                self._git[new][name] = self._git[old].pop(name)
                self._moved.append((old, new, name))
        self._commit()

    def break_(self) -> None:
        """Commit what is no YAML."""
        self._broken.add(sync := self._any_sync())
        self._not_taken(sync)
        self._commit()

    def repair(self) -> None:
        """Take that back."""
        self._broken.clear()
        self._commit()

    def toggle_kind(self) -> None:
        """Bring a kind and an object of it, or take both away."""
        if not self._kinds:
            return
        home = self._git[min(self._git)]
        manifests = dict(zip(WIDGETS, (made.crd(), made.widget("w", 1)), strict=True))
        self._renewed |= {identify(each, self.world.target) for each in manifests.values()}
        if WIDGETS[0] in home:
            for name in manifests:
                self._forget(min(self._git), name)
        else:
            home |= manifests
        self._commit()

    # --- what people do in the cluster

    def edit(self) -> None:
        """Change an object by hand."""
        if found := self._live_config():
            _, name = found
            body = {"data": {"k": f"hand {self._random.random()}", "extra": "1"}}
            self._edited.add(name)
            if self.world.seek("ConfigMap", name):
                self.world.api.merge("ConfigMap", self.world.target, name, body)

    def delete(self) -> None:
        """Delete an object by hand."""
        if found := self._live_config():
            _, name = found
            self._edited.add(name)
            self._renewed.add(("ConfigMap", self.world.target, name))
            if self.world.seek("ConfigMap", name):
                self.world.api.delete("ConfigMap", self.world.target, name)

    def new_sync(self) -> None:
        """Make a Sync with a folder of its own."""
        if len(self._git) >= MOST_SYNCS:
            return
        self._number += 1
        name = f"s{self._number}"
        self._git[name] = {}
        for _ in range(OBJECTS):
            self._put(name)
        self._commit()
        spec: Json = {"interval": "30s"} if self._random.random() < 0.3 else {}
        self.world.sync(name, path=name, **spec)

    def drop_sync(self) -> None:
        """Delete a Sync, and its objects with it."""
        if len(self._git) > LEAST_SYNCS:
            name = self._any_sync()
            if name not in self._suspended and not any(w in self._git[name] for w in WIDGETS):
                self.world.api.delete("Sync", self.world.namespace, name)
                # What it had not handed over yet goes with it, and comes back by whoever has it in Git now.
                self._renew(each for old, _, each in self._moved if old == name)
                for each in list(self._git[name]):
                    self._forget(name, each)
                del self._git[name]
                self._broken.discard(name)
                self.world.until("Sync", name, lambda o: o is None or "deletionTimestamp" in o["metadata"])

    def suspend(self) -> None:
        """Suspend a Sync."""
        self._spec(sync := self._any_sync(), suspend=True)
        self._not_taken(sync)

    def _not_taken(self, sync: str) -> None:
        """A commit that moved objects to a Sync may be fetched only now that it takes nothing: they go, and are made again."""
        self._renew(each for _, new, each in self._moved if new == sync)

    def _renew(self, names: Iterable[str]) -> None:
        self._renewed |= {("ConfigMap", self.world.target, each) for each in names}

    def resume(self) -> None:
        """Resume all."""
        for name in sorted(self._suspended):
            self._spec(name, suspend=False)

    def retarget(self) -> None:
        """Change the Source's spec in ways that lead to the same commits."""
        refs: list[Json] = [{"branch": "main"}, {"name": "refs/heads/main"}]
        self.world.source(ref=self._random.choice(refs), timeout=self._random.choice(["20s", "30s"]))

    # --- rest

    def calm(self) -> None:
        """Undo what keeps Syncs from being Ready; returns nothing to wait for but Git."""
        self.resume()
        self._broken.clear()
        self._commit(stamp=True)

    def settle(self) -> None:
        """Wait until every Sync is Ready at the last commit."""
        for name in self._git:
            self.world.until("Sync", name, self._ready_at_last, seconds=SECONDS)
        alive = {o["metadata"]["name"] for o in self.world.api.list("Sync", self.world.namespace)}
        for name in alive - self._git.keys():
            self.world.until("Sync", name, lambda o: o is None, seconds=SECONDS)

    def check(self) -> None:
        """Assert that the cluster equals the commit and that the record says so."""
        found = marked(self.world.api, self.world.namespace)
        wanted = [
            Wanted(
                name, self._objects(name), tuple(self._commits), None, frozenset(self._edited), respec=True
            )
            for name in self._git
        ]
        cluster_equals_commit(found, wanted)
        for each in wanted:
            body = self.world.api.get("Sync", self.world.namespace, each.name)
            record_is_right(body, each)
        uids = {oid: str(obj["metadata"]["uid"]) for oid, (_, obj) in found.items()}
        anew = {o for o, uid in uids.items() if self._uids.get(o, uid) != uid} - self._renewed
        assert not anew, f"deleted and made again: {anew}"
        self._uids, self._renewed, self._moved = uids, set(), []

    def scene(self) -> str:
        """What all Syncs and the Source say now, for a person who looks for a cause."""
        api, home = self.world.api, self.world.namespace
        found = [*api.list("Source", home), *api.list("Sync", home)]
        return "\n".join(f"{home}/{o['metadata']['name']}: {json.dumps(o.get('status'))}" for o in found)

    def end(self) -> None:
        """Delete all Syncs, and see that nothing of them stays."""
        for name in self._git:
            self.world.api.delete("Sync", self.world.namespace, name)
        for name in self._git:
            self.world.until("Sync", name, lambda o: o is None, seconds=SECONDS)
        found = marked(self.world.api, self.world.namespace)
        assert not found, f"orphans: {sorted(found)}"

    # --- parts

    def _ready_at_last(self, sync: Json | None) -> bool:
        applied = ((sync or {}).get("status") or {}).get("applied") or {}
        return is_ready(sync) and str(applied.get("revision")).endswith(self._commits[-1])

    def _objects(self, sync: str) -> dict[Id, Json]:
        return {identify(each, self.world.target): each for each in self._git[sync].values()}

    def _any_sync(self) -> str:
        return self._random.choice(sorted(self._git))

    def _some(self, sync: str, most: int) -> list[str]:
        names = sorted(n for n in self._git[sync] if n.startswith("c") and n not in WIDGETS)
        return self._random.sample(names, min(len(names), self._random.randint(1, most)))

    def _live_config(self) -> tuple[str, str] | None:
        sync = self._any_sync()
        names = self._some(sync, 1)
        return (sync, names[0]) if names else None

    def _config(self, name: str) -> Json:
        size = self._random.choice([10, 10, 10, 2000])
        return made.config(name, k=str(self._random.random()), text="x" * self._random.randint(1, size))

    def _put(self, sync: str) -> None:
        self._number += 1
        kind = self._random.choice(["config"] * 6 + ["service", "secret", "account", "deployment"])
        name = {"config": "c", "service": "web", "secret": "pass", "account": "sa", "deployment": "d"}[kind]
        name = f"{name}{self._number}"
        manifest = {
            "config": lambda: self._config(name),
            "service": lambda: made.service(name, self._random.randint(1, 9999)),
            "secret": lambda: made.secret(name, "b25l"),
            "account": lambda: made.account(name),
            "deployment": lambda: made.deployment(name, f"web:{self._number}"),
        }[kind]()
        self._git[sync][name] = manifest

    def _forget(self, sync: str, name: str) -> None:
        self._git[sync].pop(name, None)

    def _spec(self, name: str, *, suspend: bool) -> None:
        (self._suspended.add if suspend else self._suspended.discard)(name)
        patch = {"spec": {"suspend": suspend}}
        self.world.api.merge("Sync", self.world.namespace, name, patch, manager="test")

    def _commit(self, *, stamp: bool = False) -> None:
        if stamp:
            for sync, objects in self._git.items():
                objects[f"stamp-{sync}"] = made.config(f"stamp-{sync}", at=str(self._random.random()))
        new = {
            f"{sync}/{n}.json": json.dumps(m) for sync, found in self._git.items() for n, m in found.items()
        }
        new |= {f"{sync}/broken.yaml": BROKEN for sync in self._broken}
        changes: dict[str, str | None] = {p: t for p, t in new.items() if self._written.get(p) != t}
        changes |= dict.fromkeys(self._written.keys() - new.keys())
        self._written = new
        if changes:
            self._commits.append(self.world.repo.commit(changes, f"Change {len(self._commits)}"))
