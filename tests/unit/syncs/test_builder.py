"""A commit that the cache has lost is fetched again, or it is said that it cannot be."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.kit import virtualtime
from tests.kit.memorytree import MemoryTree
from tests.kit.oneprocess import OneProcess
from tests.kit.syncworld import World

from setpoint.api.reasons import Problem, Reason
from setpoint.objects.bodies import sync_model
from setpoint.objects.identity import SyncKey
from setpoint.plan.desired import OwnershipMarks
from setpoint.sources.artifact import Artifact
from setpoint.sources.demands import Demand
from setpoint.store.index import Store
from setpoint.syncs.builder import NotYet, TargetBuilder, revision_of

OLD, NEW = "1" * 40, "2" * 40
META = {"namespace": "team", "name": "app"}
SPEC = {"source": {"name": "src"}, "serviceAccountName": "d"}


async def lost(*, served: bool) -> None:
    """Ask for the manifests of an older commit that the cache has lost."""
    sources: Any = SimpleNamespace(refused=lambda *_: not served)
    target: Any = SimpleNamespace(sha=OLD, inputs="i1", spec={}, revision=f"main@sha1:{OLD}")
    cluster: Any = None
    current = Artifact("unknown", NEW, f"main@sha1:{NEW}", False)
    head = {"apiVersion": "setpoint.dev/v1alpha1", "kind": "Sync", "metadata": META, "spec": SPEC}
    stamp = OwnershipMarks(SyncKey("team", "app"), "label")
    nothing: Any = SimpleNamespace(known=lambda _digest: None)
    worker = OneProcess(nothing, nothing)
    await TargetBuilder(cluster, Store(), sources, worker, b"k").manifests(
        sync_model(head), current, target, stamp
    )


async def test_a_commit_that_the_server_may_give_is_awaited() -> None:
    with pytest.raises(NotYet) as caught:
        await lost(served=True)
    assert caught.value.demand == Demand(SyncKey("team", "src"), frozenset([OLD]))


async def test_a_commit_that_the_server_does_not_give_is_told() -> None:
    with pytest.raises(Problem) as caught:
        await lost(served=False)
    assert caught.value.reason is Reason.RefNotFound
    assert "main@1111111" in caught.value.message
    assert not caught.value.transient


def test_a_commit_that_changes_nothing_of_a_sync_is_not_its_revision() -> None:
    assert (
        revision_of("d1", {"desired": {"digest": "d1", "revision": "main@sha1:1"}}, "main@sha1:2")
        == "main@sha1:1"
    )


def test_a_commit_that_takes_back_a_rejected_one_is_named() -> None:
    status = {
        "desired": {"digest": "d2", "revision": "main@sha1:2"},
        "applied": {"digest": "d1", "revision": "main@sha1:1"},
    }
    assert revision_of("d1", status, "main@sha1:3") == "main@sha1:3"
    assert revision_of("d1", {}, "main@sha1:3") == "main@sha1:3"


def told(folder: Path, content: str, key: bytes) -> str:
    """Return all that is told of a Sync whose only file is this."""
    world = World(folder, key)
    world.sources.content = MemoryTree({"a.yaml": content})

    async def play() -> None:
        working = asyncio.create_task(world.controller.run())
        world.sync(1)
        await asyncio.sleep(1)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    virtualtime.run(play())
    return json.dumps(world.cluster.told)


def digests(text: str) -> set[str]:
    found = {s[part]["digest"] for s in json.loads(text) for part in ("desired", "applied") if part in s}
    assert found
    return found


def test_nobody_can_try_what_git_has_by_the_digest_of_a_status(tmp_path: Path) -> None:
    """A Secret in Git is part of the inputs, and whoever reads Syncs may not read it."""
    pin = "# pin: 1234\n"
    seen = digests(told(tmp_path, pin, b"the operator's"))
    assert seen == digests(told(tmp_path, pin, b"the operator's"))
    assert not seen & digests(told(tmp_path, "# pin: 1235\n", b"the operator's"))
    assert not seen & digests(told(tmp_path, pin, b"a guess"))


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {"url": "hunter2:\\no url"},
        {"url": ["hunter2"], "ref": {"semver": "a secret of theirs"}},
        {"url": "https://git.example.org/a.git", "allowedNamespaces": ["others"]},
        {"allowedNamespaces": "team"},
        {"url": "https://git.example.org/a.git", "allowedNamespaces": None},
    ],
)
def test_whom_a_source_does_not_allow_learns_nothing_of_it(spec: dict[str, Any] | None) -> None:
    """Not whether it exists, and not what is wrong with it."""
    where = SyncKey("theirs", "src")
    head = {"apiVersion": "setpoint.dev/v1alpha1", "metadata": {"namespace": "theirs", "name": "src"}}
    body = {**head, "kind": "Source", "spec": spec}
    store: Any = SimpleNamespace(sources={where: body} if spec is not None else {})
    nothing: Any = None
    sync = sync_model(
        {
            **head,
            "kind": "Sync",
            "metadata": META,
            "spec": {**SPEC, "source": {"name": "src", "namespace": "theirs"}},
        }
    )
    builder = TargetBuilder(nothing, store, nothing, nothing, b"k")
    with pytest.raises(Problem) as caught:
        builder.source(SyncKey("team", "app"), sync)
    assert (caught.value.reason, caught.value.message) == (
        Reason.SourceNotAllowed,
        "Source theirs/src does not allow namespace team, or does not exist; add it to its spec.allowedNamespaces",
    )
    store.sources[where] = {**body, "spec": {"allowedNamespaces": ["team"]}}
    assert builder.source(SyncKey("team", "app"), sync) == where
