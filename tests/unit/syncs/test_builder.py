"""A commit that the cache has lost is fetched again, or it is said that it cannot be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from setpoint.api.reasons import Problem, Reason
from setpoint.git.remotes import Repository, parse_url
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
    sources: Any = SimpleNamespace(tree=lambda *_: None, refused=lambda *_: not served)
    renderer: Any = SimpleNamespace(knows=lambda _: False)
    target: Any = SimpleNamespace(sha=OLD, inputs=None, revision=f"main@sha1:{OLD}")
    cluster: Any = None
    current = Artifact(Repository(parse_url("https://git.example.org/app")), NEW, f"main@sha1:{NEW}", False)
    head = {"apiVersion": "setpoint.dev/v1alpha1", "kind": "Sync", "metadata": META, "spec": SPEC}
    stamp = OwnershipMarks(SyncKey("team", "app"), "label")
    await TargetBuilder(cluster, Store(), sources, renderer).manifests(
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
