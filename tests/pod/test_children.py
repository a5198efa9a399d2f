"""Processes of the worker die while two tenants commit: nothing is lost, and nobody waits longer than for the next attempt.

`make test-pod KILLS=50` has 50 children die, and the container 5 times; SETPOINT_SEED draws other moments.
"""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit import pods
from tests.kit.api import Json, condition, is_ready, says
from tests.kit.ci import ONLY_IN_CI
from tests.kit.cluster.operator import SYSTEM
from tests.kit.servers.githttp import GitHttp
from tests.pod import workertree
from tests.pod.conftest import Site
from tests.pod.workertree import LAUNCHERS, WorkerTree

pytestmark = [pytest.mark.cluster, pytest.mark.node, pytest.mark.slow, ONLY_IN_CI]
KILLS = int(os.environ.get("SETPOINT_KILLS") or 10)
SEED = os.environ.get("SETPOINT_SEED", "50f1d3")
ENDS = max(2, KILLS // 10)
"""How often the container dies: with the second time, the kubelet lets it wait, twice as long each time."""
VALUES = ("--set=settings.readerMemory=128Mi", "--set=settings.maxYamlValues=10000000")
BOMB = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: bomb-%d}}\ndata: {{k: [{'{a: b},' * 140_000}]}}\n"
BOMBS = {f"plain/bomb-{n}.yaml": BOMB % n for n in range(8)}
"""8 MB within all budgets of these values, that are many more when they are read."""
FOLDERS = ("plain", "built")
OBJECTS = 12
UID = "65533"
WELL = ("Succeeded", "Progressing")
SECONDS = 120
COMMITS = 3
"""Seconds after which another commit comes, where nothing was killed yet."""


class Tenant:
    """A namespace with a Source and two Syncs: of plain manifests, and of what kustomize builds."""

    def __init__(self, world: World) -> None:
        self.world, self.number, self.sha = world, 0, ""
        self.commit()
        world.source()
        for folder in FOLDERS:
            world.sync(folder, path=folder)

    def commit(self) -> None:
        """Commit a change of every object."""
        self.number += 1
        names = [f"{n}.yaml" for n in range(OBJECTS)]
        files = {f"built/{each}": config(f"built-{each[:-5]}", k=str(self.number)) for each in names}
        files |= {f"plain/{each}": config(f"plain-{each[:-5]}", k=str(self.number)) for each in names}
        files["built/kustomization.yaml"] = f"resources: [{', '.join(names)}]\n"
        self.sha = self.world.repo.commit(files, f"Number {self.number}")

    def settled(self) -> None:
        """Wait until the last commit is applied, all of it and nothing else."""
        for folder in FOLDERS:
            self.world.until("Sync", folder, ready_at(self.sha))
        self.world.until("Source", "src", is_ready)
        there = self.world.api.list("ConfigMap", self.world.target)
        found = {each["metadata"]["name"]: each["data"] for each in there}
        found.pop("kube-root-ca.crt", None)
        names = [f"{folder}-{n}" for folder in FOLDERS for n in range(OBJECTS)]
        assert found == {each: {"k": str(self.number)} for each in names}

    def failures(self) -> dict[str, int]:
        """Return how many warnings there are about each Source and Sync."""
        counted = dict.fromkeys(("src", *FOLDERS), 0)
        for event in self.world.api.list("Event", self.world.namespace):
            if event["type"] == "Warning":
                counted[event["involvedObject"]["name"]] += event.get("count") or 1
        return counted


@pytest.fixture(scope="module")
def installed(site: Site) -> Site:
    """Install the chart, with small readers and large budgets of YAML."""
    site.install(*VALUES)
    pods.rolled_out(site.cluster)
    return site


@pytest.fixture(scope="module")
def tenants(installed: Site, git: GitHttp) -> Iterator[tuple[Tenant, Tenant]]:
    """Two, at rest."""
    made = tuple(Tenant(World(installed.cluster, installed.api, git)) for _ in range(2))
    for each in made:
        each.settled()
    yield made[0], made[1]
    for each in made:
        each.world.remove()


@pytest.fixture
def tree(installed: Site, tenants: tuple[Tenant, Tenant]) -> WorkerTree:
    """The processes of the worker as it runs now."""
    assert tenants
    return WorkerTree.of(installed.cluster, pods.only(installed.api))


def restarts(site: Site) -> dict[str, int]:
    """Return how often each container was started again."""
    pod = pods.only(site.api)
    return {name: pods.status(pod, name)["restartCount"] for name in ("operator", "worker")}


def failed(site: Site) -> int:
    """Return how many attempts of Sources and Syncs failed since the operator began, by its metrics."""
    address = pods.only(site.api)["status"]["podIP"]
    with urllib.request.urlopen(f"http://{address}:8080/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    reconciles = [each for each in lines if each.startswith("setpoint_reconciles_total{")]
    bad = [each for each in reconciles if not any(f'reason="{reason}"' in each for reason in WELL)]
    assert bad != reconciles, lines
    return sum(int(float(each.rpartition(" ")[2])) for each in bad)


# --- what they are


def test_readers_and_listers_have_nothing_of_others(tenants: tuple[Tenant, Tenant], tree: WorkerTree) -> None:
    """What the kernel says of those that run: their rights, what they have open, and no socket that has a name."""
    readers = tree.children("reader")
    assert len(readers) == len(tenants)
    for pid in (*readers, *tree.children("git")):
        fenced(pid)
        assert workertree.sockets_with_names(pid) == set()
    seen = [of_tenants(workertree.files(pid), tenants) for pid in readers]
    assert all(len(each) <= 1 for each in seen), seen
    assert set().union(*seen) == {each.world.namespace for each in tenants}


def fenced(pid: int) -> None:
    """Check the rights that a process has."""
    found = workertree.status(pid)
    assert (found["Uid"], found["Seccomp"], found["NoNewPrivs"]) == ([UID] * 4, ["2"], ["1"])
    assert {found[each][0] for each in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}


def of_tenants(files: set[str], tenants: tuple[Tenant, Tenant]) -> set[str]:
    """Return whose mirrors are among open files, of which no others are in the cache, or anywhere that can be written."""
    mine = {path for path in files if path.startswith(("/var/cache/", "/run/", "/tmp/"))}
    owners = {path: each.world.namespace for path in mine for each in tenants if _mirror_of(path, each)}
    assert owners.keys() == mine
    return set(owners.values())


def _mirror_of(path: str, tenant: Tenant) -> bool:
    return f"/git/mirrors/{tenant.world.namespace}/" in path


def test_a_renderer_has_nothing_but_its_work(tenants: tuple[Tenant, Tenant], tree: WorkerTree) -> None:
    """It is held where it is at work, and looked at; when it goes on, its build ends well."""
    (launcher,) = tree.launchers("renderer")
    pid = seized(tree, launcher, tenants[0].commit)
    try:
        fenced(pid)
        names = {each for each in workertree.files(pid) if not each.startswith(("[", "anon_inode"))}
        assert {each.split(" ")[0] for each in names} <= {
            "/dev/null",
            "/memfd:stdout",
            "/memfd:stderr",
            "/usr/local/bin/kustomize",
            "pipe",
        } | {each for each in names if each.startswith("/tmp/setpoint-readers-")}
        assert workertree.sockets_with_names(pid) == set()
    finally:
        workertree.send(pid, launcher, signal.SIGCONT)
    tenants[0].settled()


def seized(tree: WorkerTree, launcher: int, commit: Callable[[], None]) -> int:
    """Return a renderer that runs its program, stopped."""
    held: list[int] = []

    def seen() -> bool:
        for pid in tree.children("renderer"):
            if workertree.send(pid, launcher, signal.SIGSTOP):
                if os.readlink(f"/proc/{pid}/exe").endswith("/kustomize"):
                    held.append(pid)
                    return True
                workertree.send(pid, launcher, signal.SIGCONT)
        return False

    hunt(seen, commit)
    return held[0]


def hunt(caught: Callable[[], bool], commit: Callable[[], None]) -> None:
    """Try to catch a process, some of which live for a hundredth of a second; commit before, and again where that takes long."""
    deadline = time.monotonic() + SECONDS
    commit()
    again = time.monotonic() + COMMITS
    while not caught():
        assert time.monotonic() < deadline, "there was no such process"
        if time.monotonic() > again:
            commit()
            again = time.monotonic() + COMMITS
        time.sleep(0.001)


# --- what is left when they die


def victims(random: Random) -> list[tuple[str, bool]]:
    """Draw the order of kinds, and whether the launcher of that kind dies instead: one of five does."""
    kinds = list(LAUNCHERS)
    launchers = KILLS // 5
    drawn = [(kinds[n % len(kinds)], False) for n in range(KILLS - launchers)]
    random.shuffle(drawn)
    return drawn + [(kinds[n % len(kinds)], True) for n in range(launchers)]


@dataclass
class Killer:
    """Kills processes of a worker while tenants commit."""

    tree: WorkerTree
    tenants: tuple[Tenant, Tenant]
    random: Random

    def kill(self, kind: str, *, launcher: bool) -> None:
        """Commit, and kill a process of a kind: one that lives long at any time after that, any other as soon as it is there."""
        brief = not launcher and (kind == "renderer" or (kind == "git" and self.random.random() < 0.5))
        known = set(self.tree.children(kind)) if brief else set()  # those that fetch are new
        rest = 0.0 if brief else self.random.uniform(0, 1.5)

        def commit() -> None:
            for each in self.random.sample(self.tenants, self.random.choice((1, 2))):
                each.commit()
            time.sleep(rest)  # a moment at random is no event

        hunt(lambda: self._strike(kind, known, launcher=launcher), commit)

    def _strike(self, kind: str, known: set[int], *, launcher: bool) -> bool:
        parents = self.tree.launchers(kind)
        found = parents if launcher else [pid for pid in self.tree.children(kind) if pid not in known]
        parent = self.tree.broker if launcher else next(iter(parents), 0)
        return bool(found) and workertree.kill(self.random.choice(found), parent)


def test_children_that_are_killed_cost_an_attempt_each(
    tenants: tuple[Tenant, Tenant], tree: WorkerTree, installed: Site
) -> None:
    killer = Killer(tree, tenants, Random(SEED))
    before, warned = failed(installed), [each.failures() for each in tenants]
    most = 0
    for kind, launcher in victims(killer.random):
        killer.kill(kind, launcher=launcher)
        # All that a launcher forked dies with it.
        most += (1 + len(FOLDERS)) * len(tenants) if launcher else 1
    for each in tenants:
        each.settled()
    told = [each.failures() for each in tenants]
    print(
        f"\nSETPOINT_SEED={SEED}: {KILLS} kills, {failed(installed) - before} attempts failed, warnings {told}"
    )
    assert failed(installed) - before <= most
    for then, now in zip(warned, told, strict=True):
        assert {
            name: number - then[name] for name, number in now.items() if number - then[name] > KILLS
        } == {}
    assert restarts(installed) == {"operator": 0, "worker": 0}
    assert WorkerTree.of(installed.cluster, pods.only(installed.api)) == tree


def test_what_takes_a_readers_memory_ends_that_reader_alone(
    tenants: tuple[Tenant, Tenant], tree: WorkerTree, installed: Site
) -> None:
    """The kernel refuses memory to that process (RLIMIT_DATA) long before the container is at its limit, where cgroup v1 would end one process, and v2 all."""
    one, other = tenants
    one.world.repo.commit(BOMBS, "A bomb")
    told = one.world.until("Sync", "plain", says("TooLarge", "128 MiB"), seconds=SECONDS)
    assert "settings.readerMemory" in condition(told)["message"]
    other.commit()
    other.settled()
    assert condition(one.world.api.get("Sync", one.world.namespace, "plain"))["reason"] == "TooLarge"
    one.world.repo.commit(dict.fromkeys(BOMBS), "No bomb")
    one.commit()
    one.settled()
    assert restarts(installed) == {"operator": 0, "worker": 0}
    assert WorkerTree.of(installed.cluster, pods.only(installed.api)) == tree


def restarted(times: int) -> Callable[[Json | None], bool]:
    return lambda pod: pods.status(pod, "worker").get("restartCount") == times


def test_a_worker_that_is_killed_loses_nothing(tenants: tuple[Tenant, Tenant], installed: Site) -> None:
    """The kubelet starts it anew at once, and after a second death some ten seconds later: that is told, and repaired."""
    pod = pods.only(installed.api)
    name = pod["metadata"]["name"]
    for number in range(1, ENDS + 1):
        before = pods.status(pod, "worker")["restartCount"]
        for each in tenants:
            each.commit()
        pods.send(installed.cluster, pod, signal.SIGKILL, "worker")
        if number > 1:
            for each in tenants:
                each.world.ask("Source", "src", f"number {number}")
                told = each.world.until("Source", "src", says("WorkerGone"))
                assert "stays enforced" in condition(told)["message"]
                for folder in FOLDERS:
                    each.world.until("Sync", folder, is_ready)
        for each in tenants:
            each.commit()
        pod = installed.api.until("Pod", SYSTEM, name, restarted(before + 1)) or {}
        for each in tenants:
            each.settled()
    assert restarts(installed) == {"operator": 0, "worker": ENDS}
    assert pods.status(pod)["ready"]
