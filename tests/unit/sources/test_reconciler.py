"""Sources ask again whenever the last answer may not hold: on stubs of Git and of the API server, in virtual time."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Coroutine, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.kit import virtualtime
from tests.kit.memorytree import MemoryTree
from tests.kit.oneprocess import OneProcess
from tests.kit.samples import Woken

from setpoint.api.budgets import DEFAULTS
from setpoint.api.reasons import Problem, Reason
from setpoint.git.credentials import Credentials
from setpoint.git.refs import Selected
from setpoint.git.remotes import Repository
from setpoint.kube.errors import ApiError
from setpoint.objects.bodies import Body
from setpoint.objects.identity import SyncKey
from setpoint.objects.kinds import Kind
from setpoint.runtime.metrics import Metrics
from setpoint.runtime.workqueue import Controller, WorkQueue
from setpoint.sources.changes import EVERYTHING, Changes
from setpoint.sources.demands import Demand
from setpoint.sources.reconciler import Sources
from setpoint.sources.reporter import SourceReporter
from setpoint.status.conditions import condition_of
from setpoint.store.index import Store
from setpoint.store.status_writer import StatusWriter
from setpoint.wall.errors import WorkerAway, WorkerGone
from setpoint.wall.messages import GitRef, Login

KEY, APP, OTHER = SyncKey("team", "src"), SyncKey("team", "app"), SyncKey("team", "other")
A, B, C, D = "a" * 40, "b" * 40, "c" * 40, "d" * 40
URL, ANOTHER = "https://git.example.org/team/app", "https://git.example.org/team/another"
INTERVAL = 3600.0


class Gate:
    """Where a fetch waits until a test lets it go on."""

    def __init__(self) -> None:
        self.arrived, self.go = asyncio.Event(), asyncio.Event()


class Git:
    """Remotes with one branch each; every commit can be had, but for those that `fails` names."""

    def __init__(self) -> None:
        self.at: dict[str, str] = {}
        self.held: set[str] = set()
        self.listed: list[str] = []
        self.fetched: list[str] = []
        self.gates: dict[str, Gate] = {}
        self.fails: dict[str, Problem] = {}
        self.unreadable: list[Exception] = []
        self.incomparable: list[Exception] = []
        self.unforeseen: dict[str, Exception] = {}
        self.cancelled: list[str] = []
        self.limits: list[float] = []
        self.logins: list[Credentials] = []

    def handle(self, repository: Repository) -> str:
        return f"{repository.namespace}/{repository.remote.url}"

    async def resolve(self, repository: Repository, ref: GitRef, limit: float) -> Selected:
        self.limits.append(limit)
        if ref.commit:
            return Selected("refs/heads/main", ref.commit, f"sha1:{ref.commit}")
        self.listed.append(repository.remote.url)
        sha = self.at[repository.remote.url]
        return Selected("refs/heads/main", sha, f"main@sha1:{sha}")

    async def fetch(
        self, repository: Repository, _ref: GitRef, selected: Selected, _limit: float, *, submodules: bool
    ) -> Selected:
        assert not submodules
        self.fetched.append(selected.sha)
        self.logins.append(repository.credentials)
        if (gate := self.gates.pop(selected.sha, None)) is not None:
            gate.arrived.set()
            try:
                await gate.go.wait()
            except asyncio.CancelledError:
                self.cancelled.append(selected.sha)
                raise
        if selected.sha in self.unforeseen:
            raise self.unforeseen.pop(selected.sha)
        if selected.sha in self.fails:
            raise self.fails[selected.sha]
        self.held.add(selected.sha)
        return selected

    def has(self, _repository: Repository, sha: str, *, submodules: bool) -> bool:
        return sha in self.held and not submodules

    def commit(self, _repository: Repository, sha: str) -> Any:
        if self.unreadable:
            raise self.unreadable.pop()
        return SimpleNamespace(sha=sha, subject="s", author="a", time="2026-01-01T00:00:00Z")

    def tree(self, _repository: Repository, sha: str, *, submodules: bool) -> MemoryTree:
        assert not submodules
        if self.incomparable:
            raise self.incomparable.pop()
        return MemoryTree({"a.yaml": sha})


class Cluster:
    """Takes statuses of the Source that there is."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.gone: list[bool] = []

    def kind(self, _version: str, name: str) -> Kind:
        return Kind("setpoint.dev", "v1alpha1", name, f"{name.lower()}s", True, frozenset())

    async def patch(self, _kind: Kind, namespace: str, name: str, ops: Any, **_: Any) -> Body:
        if self.gone:
            self.gone.pop()
            raise ApiError(404, "NotFound", f'sources.setpoint.dev "{name}" not found')
        body = copy.deepcopy(self._store.sources[SyncKey(namespace, name)])
        version = body["metadata"]["resourceVersion"]
        if ops[0]["value"] != version:
            raise ApiError(409, "Conflict", "the object has been modified")
        for op in ops[1:]:
            _, field, *rest = op["path"].split("/")
            body[field] = {**body.get(field, {}), rest[0]: op["value"]} if rest else op["value"]
        body["metadata"]["resourceVersion"] = str(int(version) + 1)
        return body


class World:
    """The real reconciler of Sources with its queue."""

    def __init__(self) -> None:
        self.git, self.store = Git(), Store()
        self.git.at[URL] = A
        self.queue = WorkQueue[SyncKey](clock=lambda: asyncio.get_running_loop().time())
        syncs = Woken()
        self.woken = syncs.keys
        self.moves: list[tuple[str, str]] = []
        self.changes: list[Changes] = []
        self.cluster = Cluster(self.store)
        cluster: Any = self.cluster
        events: Any = SimpleNamespace(record=lambda *_: None)
        renderer = cast("Any", SimpleNamespace(budgets=DEFAULTS))
        self.worker = OneProcess(self.git, renderer)
        self.sources = Sources(
            cluster,
            self.worker,
            self.store,
            SourceReporter(StatusWriter(cluster, self.store), events, Metrics()),
            self,
            self.queue,
            syncs,
            allow_file=False,
        )
        self.controller = Controller(self.queue, self.sources.reconcile, workers=4)

    def looks(self, _source: SyncKey) -> Mapping[SyncKey, str]:
        return {APP: "r1"}

    def commit_changed(self, _source: SyncKey, before: str, after: str, changes: Changes) -> None:
        self.changes.append(changes)
        self.moves.append((before, after))

    def source(
        self, url: str = URL, uid: str = "u1", version: int = 1, generation: int = 1, **fields: Any
    ) -> None:
        """Bring a Source, as the watch does."""
        meta = {"namespace": KEY.namespace, "name": KEY.name, "uid": uid, "generation": generation}
        meta["resourceVersion"] = str(version)
        spec = {"url": url, "ref": {"branch": "main"}, "interval": f"{INTERVAL:g}s", **fields}
        head = {"apiVersion": "setpoint.dev/v1alpha1", "kind": "Source", "metadata": meta, "spec": spec}
        assert self.store.put_source(head)
        self.queue.add(KEY)

    def event(self, *args: Any, **fields: Any) -> None:
        """Bring a Source while the one before is being checked."""
        self.source(*args, **fields)
        self.sources.give_up(KEY)

    def ask(self, sync: SyncKey, requested: str) -> None:
        self.sources.demand(sync, Demand(KEY, check=requested))

    def want(self, sync: SyncKey, sha: str) -> None:
        self.sources.demand(sync, Demand(KEY, frozenset([sha])))

    def lose(self) -> None:
        """Take the cache away, as the run of a Sync that looks for its commit finds out."""
        self.git.held.clear()
        current = self.sources.current(KEY)
        assert current is not None
        self.sources.lost(KEY, current)

    def gate(self, sha: str) -> Gate:
        """Have the next fetch of a commit wait."""
        return self.git.gates.setdefault(sha, Gate())

    def status(self) -> tuple[str, str, str]:
        """Return the commit, Ready and its reason."""
        status = self.store.sources[KEY]["status"]
        ready = condition_of(status, "Ready") or {}
        return status["revision"].rpartition(":")[2], ready["status"], ready["reason"]


async def settled() -> None:
    """Let everything happen that is not due in its interval only, with some retries."""
    await asyncio.sleep(INTERVAL / 100)


def play(story: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def told() -> None:
        world = World()
        working = asyncio.create_task(world.controller.run())
        try:
            await asyncio.wait_for(story(world), 10 * INTERVAL)
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    virtualtime.run(told())


# --- a request is answered by a check that began after it


def test_who_asks_during_a_check_is_answered_by_another() -> None:
    async def story(world: World) -> None:
        gate = world.gate(A)
        world.ask(OTHER, "before")
        world.source()
        await gate.arrived.wait()
        world.git.at[URL] = B
        later = world.gate(B)
        world.ask(APP, "now")
        gate.go.set()
        await later.arrived.wait()
        assert world.sources.was_checked(KEY, OTHER, "before")
        assert not world.sources.was_checked(KEY, APP, "now")
        assert world.woken == [OTHER]
        later.go.set()
        await settled()
        assert world.sources.was_checked(KEY, APP, "now")
        assert world.woken == [OTHER, APP]
        assert world.git.listed == [URL, URL]
        assert world.status() == (B, "True", "Succeeded")

    play(story)


def test_an_older_commit_that_is_wanted_while_another_is_fetched_comes_too() -> None:
    async def story(world: World) -> None:
        world.source()
        await settled()
        gate = world.gate(C)
        world.want(APP, C)
        await gate.arrived.wait()
        world.want(OTHER, D)
        gate.go.set()
        await settled()
        assert world.git.fetched == [A, C, D]
        assert world.woken == [APP, OTHER]

    play(story)


def test_who_lost_a_commit_during_a_check_that_brings_it_has_no_other_made() -> None:
    async def story(world: World) -> None:
        gate = world.gate(A)
        world.source()
        await gate.arrived.wait()
        world.sources.demand(APP, Demand(KEY, latest=True))
        gate.go.set()
        await settled()
        assert world.woken == [APP]
        assert world.git.listed == [URL]

    play(story)


# --- older commits


def gone(sha: str) -> Problem:
    return Problem(Reason.RefNotFound, f"commit {sha} is not on any branch or tag of {URL}")


def test_an_older_commit_that_the_server_has_no_more_is_no_fault_of_the_source() -> None:
    async def story(world: World) -> None:
        world.source()
        await settled()
        world.git.fails[C] = gone(C)
        world.want(APP, C)
        world.want(OTHER, D)
        world.git.at[URL] = B
        await settled()
        assert world.git.fetched == [A, B, C, D]
        assert world.status() == (B, "True", "Succeeded")
        assert sorted(world.woken) == [APP, OTHER]
        assert world.sources.refused(KEY, C)

    play(story)


def test_an_older_commit_that_cannot_be_had_now_keeps_neither_the_others_nor_the_new_one_back() -> None:
    async def story(world: World) -> None:
        world.source()
        await settled()
        world.git.fails[C] = Problem(Reason.GitFailed, "the server stumbles over it")
        world.want(APP, C)
        world.want(OTHER, D)
        world.git.at[URL] = B
        await settled()
        assert D in world.git.held
        assert world.git.fetched.count(C) > 1
        assert world.status() == (B, "False", "GitFailed")
        del world.git.fails[C]
        await asyncio.sleep(INTERVAL / 10)
        assert C in world.git.held
        assert world.status() == (B, "True", "Succeeded")

    play(story)


def test_an_older_commit_that_meets_an_outage_leaves_the_next_one_to_another_check() -> None:
    async def story(world: World) -> None:
        world.source()
        await settled()
        world.git.fails[C] = Problem(Reason.HostUnreachable, "no answer in time")
        gate = world.gate(D)
        world.want(APP, C)
        world.want(OTHER, D)
        await gate.arrived.wait()
        assert world.git.fetched == [A, C, D]
        assert world.git.listed == [URL, URL, URL]
        assert world.status() == (A, "False", "HostUnreachable")
        gate.go.set()
        await settled()
        assert D in world.git.held  # it was only the other commit's outage: a submodule on another host

    play(story)


def test_a_commit_that_is_wanted_no_more_is_not_tried_again() -> None:
    async def story(world: World) -> None:
        world.source()
        await settled()
        world.git.fails[C] = Problem(Reason.GitFailed, "the server stumbles over it")
        world.want(APP, C)
        world.want(OTHER, C)
        await settled()
        assert world.status() == (A, "False", "GitFailed")
        world.sources.demand(APP, None)
        world.want(OTHER, C)
        tries = world.git.fetched.count(C)
        await asyncio.sleep(INTERVAL / 10)  # longer than the longest pause between two tries
        assert world.git.fetched.count(C) > tries
        world.sources.demand(OTHER, None)
        tries = world.git.fetched.count(C)
        await asyncio.sleep(INTERVAL / 10)
        assert world.git.fetched.count(C) == tries
        assert world.status() == (A, "True", "Succeeded")

    play(story)


def test_what_came_while_a_run_went_on_needs_no_other_check() -> None:
    async def story(world: World) -> None:
        world.source()
        await settled()
        world.sources.demand(APP, Demand(KEY, latest=True))
        assert world.woken == [APP]
        await settled()
        assert world.woken == [APP]
        assert world.git.listed == [URL]

    play(story)


def test_a_last_good_commit_that_the_cache_lost_is_fetched_again() -> None:
    async def story(world: World) -> None:
        world.source()
        await settled()
        world.lose()
        world.git.fails[A] = Problem(Reason.HostUnreachable, "no answer in time")
        for _ in range(3):
            world.sources.demand(APP, Demand(KEY, latest=True))
            await settled()
        assert world.woken == [APP], "once for each reason"
        del world.git.fails[A]
        await asyncio.sleep(INTERVAL / 10)
        assert world.woken == [APP, APP]
        assert world.git.held == {A}

    play(story)


def test_who_begins_to_wait_while_the_remote_fails_as_before_is_woken_once() -> None:
    """It may have looked before the check that failed had ended, and knows nothing of that."""

    async def story(world: World) -> None:
        world.source()
        await settled()
        world.lose()
        world.git.fails[A] = Problem(Reason.HostUnreachable, "no answer in time")
        world.sources.demand(OTHER, Demand(KEY, latest=True))
        await settled()
        world.woken.clear()
        world.sources.demand(APP, Demand(KEY, latest=True))
        await settled()
        assert world.woken == [APP]

    play(story)


# --- a Source that is made again


def test_a_source_that_is_made_again_is_asked_at_once() -> None:
    async def story(world: World) -> None:
        world.source()
        await settled()
        world.git.at[ANOTHER] = B
        gate = world.gate(B)
        world.source(ANOTHER, "u2", 100)
        assert world.sources.current(KEY) is None
        await gate.arrived.wait()
        assert world.sources.current(KEY) is None
        gate.go.set()
        await settled()
        assert world.git.listed == [URL, ANOTHER]
        assert world.status() == (B, "True", "Succeeded")
        assert world.moves == [("", A), ("", B)]

    play(story)


def test_the_worker_forgets_the_login_of_a_source_that_is_gone_or_has_another() -> None:
    """What is at a handle is all that it keeps of a login; the mirror has its place by the login, too."""

    async def story(world: World) -> None:
        first, second = (f"{KEY.namespace}/{url}" for url in (URL, ANOTHER))

        def kept() -> list[bool]:
            return [world.worker.commits.holds(h, s, submodules=False) for h, s in ((first, A), (second, B))]

        world.source()
        await settled()
        assert kept() == [True, False]
        world.git.at[ANOTHER] = B
        world.source(ANOTHER, "u1", 100, 2)
        await settled()
        assert kept() == [False, True]
        world.store.drop_source(KEY, "u1")
        world.queue.add(KEY)
        await settled()
        assert kept() == [False, False]

    play(story)


def test_who_asked_a_source_is_answered_by_the_one_that_is_made_again() -> None:
    async def story(world: World) -> None:
        gate = world.gate(A)
        world.source()
        await gate.arrived.wait()
        world.git.at[ANOTHER] = B
        world.source(ANOTHER, "u2", 100)
        later = world.gate(B)
        world.ask(APP, "now")
        world.sources.demand(OTHER, Demand(KEY, latest=True))
        gate.go.set()
        await later.arrived.wait()
        assert not world.sources.was_checked(KEY, APP, "now")
        world.woken.clear()
        world.sources.demand(OTHER, Demand(KEY, latest=True))
        later.go.set()
        await settled()
        assert world.sources.was_checked(KEY, APP, "now")
        assert sorted(world.woken) == [APP, OTHER]
        assert world.status() == (B, "True", "Succeeded")

    play(story)


def test_who_waits_for_a_commit_of_a_source_that_is_made_again_gets_that_of_the_new_one() -> None:
    async def story(world: World) -> None:
        world.source()
        await settled()
        world.git.fails[C] = Problem(Reason.HostUnreachable, "no answer in time")
        world.want(APP, C)
        await asyncio.sleep(1)
        world.git.at[ANOTHER] = B
        world.woken.clear()
        asked = world.git.fetched.count(C)
        world.source(ANOTHER, "u2", 100)
        await settled()
        assert world.woken == [APP]
        assert world.git.fetched.count(C) == asked
        assert world.status() == (B, "True", "Succeeded")

    play(story)


def test_a_source_that_goes_during_its_check_and_is_made_again_is_not_forgotten() -> None:
    async def story(world: World) -> None:
        gate = world.gate(A)
        world.source()
        await gate.arrived.wait()
        world.git.at[ANOTHER] = B
        world.ask(APP, "now")
        world.source(ANOTHER, "u2", 100)
        world.cluster.gone.append(True)
        later = world.gate(B)
        gate.go.set()
        await later.arrived.wait()
        assert not world.sources.was_checked(KEY, APP, "now")
        later.go.set()
        await settled()
        assert world.sources.was_checked(KEY, APP, "now")
        assert world.status() == (B, "True", "Succeeded")

    play(story)


def test_a_source_that_went_unseen_is_forgotten() -> None:
    async def story(world: World) -> None:
        world.cluster.gone.append(True)
        world.source()
        await settled()
        assert world.store.sources == {}
        assert world.sources.current(KEY) is None
        assert world.sources.was_checked(KEY, APP, "now")

    play(story)


# --- whatever breaks, Syncs are told of a commit


@pytest.mark.parametrize(
    "error", [Problem(Reason.GitFailed, "gone from the cache"), RuntimeError("unforeseen")]
)
def test_syncs_are_told_of_a_commit_that_cannot_be_shown(error: Exception) -> None:
    async def story(world: World) -> None:
        world.source()
        await settled()
        world.git.at[URL] = B
        world.git.unreadable.append(error)
        world.ask(APP, "now")
        await settled()
        assert world.moves == [("", A), (A, B)]
        assert world.status() == (B, "True", "Succeeded")

    play(story)


def test_syncs_are_told_of_a_commit_that_cannot_be_compared() -> None:
    async def story(world: World) -> None:
        world.source()
        await settled()
        world.git.at[URL] = B
        world.git.incomparable.append(RuntimeError("unforeseen"))
        world.ask(APP, "now")
        await settled()
        assert world.moves == [("", A), (A, B)]
        assert world.changes[-1] == EVERYTHING
        assert world.status() == (B, "True", "Succeeded")

    play(story)


def test_syncs_are_told_of_a_commit_although_the_check_broke_off_after_it() -> None:
    async def story(world: World) -> None:
        world.source()
        await settled()
        world.git.at[URL] = B
        world.git.unforeseen[C] = RuntimeError("unforeseen")
        world.want(APP, C)
        await settled()
        assert world.moves == [("", A), (A, B)]
        assert world.status() == (B, "True", "Succeeded")
        assert world.woken == [APP]

    play(story)


@pytest.mark.parametrize("kind", ["check", "compare"])
def test_a_worker_that_is_gone_is_no_failure_of_the_source(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        world.source()
        await settled()
        before = copy.deepcopy(world.store.sources[KEY]["status"])
        deaths = [WorkerGone("dead")] * 3

        async def gone(request: Any) -> Any:
            if deaths:
                raise deaths.pop()
            monkeypatch.undo()
            return await getattr(world.worker, kind)(request)

        monkeypatch.setattr(world.worker, kind, gone)
        world.git.at[URL] = B
        world.ask(APP, "now")
        await asyncio.sleep(0.5)
        assert world.store.sources[KEY]["status"] == before
        await asyncio.sleep(3.5)
        assert world.status() == (B, "True", "Succeeded")
        assert world.moves[-1] == (A, B)

    play(story)


def test_a_worker_that_stays_away_is_told_and_costs_no_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        world.source()
        await settled()

        async def away(_request: Any) -> Any:
            raise WorkerAway("away")

        monkeypatch.setattr(world.worker, "check", away)
        world.git.at[URL] = B
        world.ask(APP, "now")
        await asyncio.sleep(0.5)
        assert world.status() == (A, "False", "WorkerGone")
        ready = condition_of(world.store.sources[KEY]["status"], "Ready") or {}
        assert ready["message"].endswith("it is back; main@aaaaaaa stays enforced")
        assert not world.sources.was_checked(KEY, APP, "now")
        written = world.store.sources[KEY]["metadata"]["resourceVersion"]
        await asyncio.sleep(60.0)
        assert world.store.sources[KEY]["metadata"]["resourceVersion"] == written, "it is said once"
        monkeypatch.undo()
        await asyncio.sleep(3.5)
        assert world.status() == (B, "True", "Succeeded")
        assert world.moves[-1] == (A, B)

    play(story)


# --- a check that nobody waits for any more


def test_a_new_spec_is_not_kept_waiting_for_the_server_of_the_former() -> None:
    async def story(world: World) -> None:
        world.git.at[ANOTHER] = B
        gate = world.gate(A)
        world.source(timeout="10m")
        await gate.arrived.wait()
        world.ask(APP, "now")
        world.event(ANOTHER, version=2, generation=2)
        await settled()
        assert world.git.cancelled == [A]
        assert world.status() == (B, "True", "Succeeded")
        assert world.git.listed == [URL, ANOTHER]
        assert world.sources.was_checked(KEY, APP, "now"), "who asked is answered by the next check"

    play(story)


def test_a_source_that_goes_takes_its_check_with_it() -> None:
    async def story(world: World) -> None:
        gate = world.gate(A)
        world.source()
        await gate.arrived.wait()
        world.store.drop_source(KEY, "u1")
        world.sources.give_up(KEY)
        world.queue.add(KEY)
        await settled()
        assert world.git.cancelled == [A]
        assert world.queue.working == 0
        assert world.sources.current(KEY) is None

    play(story)


def test_news_that_are_not_of_the_spec_leave_a_check_alone() -> None:
    async def story(world: World) -> None:
        gate = world.gate(A)
        world.source()
        await gate.arrived.wait()
        world.event(version=2)
        world.sources.give_up(SyncKey("team", "nobody"))
        await asyncio.sleep(1)
        gate.go.set()
        await settled()
        assert world.git.cancelled == []
        assert world.status() == (A, "True", "Succeeded")

    play(story)


def test_a_check_ends_with_the_operator() -> None:
    async def story(world: World) -> None:
        gate = world.gate(A)
        world.source()
        await gate.arrived.wait()
        await world.controller.drain(0)
        assert world.git.cancelled == [A]
        assert "status" not in world.store.sources[KEY]

    play(story)


@pytest.mark.parametrize(
    ("timeout", "limit", "note"),
    [
        ("3s", 3.0, ""),
        ("10m", 600.0, ""),
        ("600s", 600.0, ""),
        ("2h", 600.0, "; spec.timeout 2h is longer than 10m, which is the limit that counts"),
    ],
)
def test_a_timeout_that_is_too_long_is_shortened_and_said(timeout: str, limit: float, note: str) -> None:
    async def story(world: World) -> None:
        world.source(timeout=timeout)
        await settled()
        assert world.git.limits == [limit]
        ready = condition_of(world.store.sources[KEY]["status"], "Ready") or {}
        assert ready["message"] == f"main@{A[:7]}{note}"
        world.git.fails[B] = Problem(Reason.HostUnreachable, "no answer")
        world.git.at[URL] = B
        await asyncio.sleep(2 * INTERVAL)
        ready = condition_of(world.store.sources[KEY]["status"], "Ready") or {}
        assert ready["message"] == f"no answer; main@{A[:7]} stays enforced{note}"
        assert set(world.git.limits) == {limit}

    play(story)


def test_a_host_that_is_denied_is_asked_again_at_the_interval_and_no_sooner() -> None:
    """Its name may get another address, of which nobody tells us; and it is no outage that ends by itself."""

    async def story(world: World) -> None:
        world.git.fails[A] = Problem(Reason.HostDenied, "git may not be connected to")
        world.source()
        await asyncio.sleep(0.9 * INTERVAL)
        assert len(world.git.listed) == 1
        ready, stalled = (
            condition_of(world.store.sources[KEY]["status"], kind) for kind in ("Ready", "Stalled")
        )
        assert ready
        assert (ready["reason"], bool(stalled)) == ("HostDenied", True)
        await asyncio.sleep(0.6 * INTERVAL)
        assert len(world.git.listed) == 2
        world.git.fails.clear()
        await asyncio.sleep(1.2 * INTERVAL)
        assert world.status() == (A, "True", "Succeeded")
        # An older commit whose submodule lies on such a host is not given up either.
        world.git.fails[B] = Problem(Reason.HostDenied, "submodule x: git may not be connected to")
        world.want(APP, B)
        await settled()
        assert not world.sources.refused(KEY, B)

    play(story)


def test_a_commit_over_a_budget_is_fetched_once_and_a_smaller_one_takes_its_place() -> None:
    async def story(world: World) -> None:
        world.source()
        await settled()
        world.git.fails[B] = Problem(Reason.TooLarge, "at least 300 MiB, more than settings.maxFetchSize")
        world.git.at[URL] = B
        await asyncio.sleep(3.5 * INTERVAL)
        assert world.status() == (A, "False", "TooLarge")
        assert len(world.git.listed) > 3, "it is asked where the ref is, as before"
        assert world.git.fetched.count(B) == 1, "and the same commit is not brought again"
        world.git.at[URL] = C
        await asyncio.sleep(1.5 * INTERVAL)
        assert world.status() == (C, "True", "Succeeded")

    play(story)


def test_no_login_goes_to_the_server_of_another_spec() -> None:
    """Not even for an older commit while the Source is suspended, when no Secret is read for a check."""

    async def story(world: World) -> None:
        world.source()
        await settled()
        world.sources._memory[KEY].login = Login(password="of the first server")
        world.want(APP, B)
        await settled()
        assert world.git.logins[-1].password == "of the first server"
        world.event(ANOTHER, version=9, generation=2, suspend=True)
        world.want(APP, C)
        await settled()
        assert C in world.git.fetched
        assert world.git.logins[-1].password == ""

    play(story)


def test_what_only_a_person_can_put_right_is_not_asked_again_by_itself() -> None:
    async def story(world: World) -> None:
        world.git.fails[A] = Problem(Reason.RepositoryUnsupported, "it is in SHA-256 format")
        world.sources.demand(APP, Demand(KEY, latest=True))
        world.source()
        await asyncio.sleep(3 * INTERVAL)
        assert len(world.git.listed) == 1
        # Who waits for the commit, and asks for it again and again, does not have it asked for again.
        for _ in range(3):
            world.sources.demand(APP, Demand(KEY, latest=True))
            world.queue.add(KEY)
            await settled()
        assert len(world.git.listed) == 1
        world.ask(APP, "now")
        await settled()
        assert world.sources.was_checked(KEY, APP, "now")
        assert len(world.git.listed) == 2
        world.git.at[ANOTHER] = B
        world.source(ANOTHER, version=9, generation=2)
        await settled()
        assert world.status() == (B, "True", "Succeeded")
        await asyncio.sleep(2 * INTERVAL)
        assert len(world.git.listed) > 3, "what works is asked at each interval"

    play(story)
