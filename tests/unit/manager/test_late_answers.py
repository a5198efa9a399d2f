"""The answer to a write of ours says what an object is, and not that there still is one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.kit.samples import work

from setpoint.manager.cluster_identity import ClusterIdentity
from setpoint.manager.controllers import Controllers, build
from setpoint.objects.bodies import Body, key_of
from setpoint.runtime.metrics import Metrics
from setpoint.settings import Settings


def body(kind: str, uid: str, version: int) -> Body:
    meta = {"namespace": "team", "name": "one", "uid": uid, "resourceVersion": str(version)}
    return {"apiVersion": "setpoint.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": {}}


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Controllers]:
    """Controllers that do not work yet."""
    cluster: Any = SimpleNamespace()
    settings = Settings(namespace="sys", cache_dir=str(tmp_path))
    made = build(settings, cluster, ClusterIdentity("c", b"k"), Metrics())
    yield made
    await made.close()


def known(here: Controllers, kind: str) -> list[Body]:
    found = here.store.sources if kind == "Source" else here.store.syncs
    return list(cast("dict[Any, Body]", found).values())


@pytest.mark.parametrize("kind", ["Source", "Sync"])
async def test_a_late_answer_brings_nothing_back_that_is_deleted(here: Controllers, kind: str) -> None:
    here.resync.event("ADDED", body(kind, "u1", 10))
    here.store.answered(body(kind, "u1", 11))
    assert known(here, kind) == [body(kind, "u1", 11)]
    here.resync.event("DELETED", body(kind, "u1", 13))
    here.store.answered(body(kind, "u1", 12))
    assert known(here, kind) == []


@pytest.mark.parametrize("kind", ["Source", "Sync"])
async def test_a_late_answer_takes_nothing_from_what_is_made_again(here: Controllers, kind: str) -> None:
    here.resync.event("ADDED", again := body(kind, "u2", 11))
    here.store.answered(body(kind, "u1", 12))
    assert known(here, kind) == [again]


async def test_syncs_are_told_of_an_answer_about_their_source(here: Controllers) -> None:
    sync = body("Sync", "u9", 5) | {"spec": {"source": {"name": "one"}}}
    here.store.put_sync(sync)
    here.resync.event("ADDED", body("Source", "u1", 10))
    assert work(here.queues.syncs) == work(here.queues.sources) == [key_of(sync)]
    answer = body("Source", "u1", 11)
    answer["metadata"]["generation"] = 2
    here.store.answered(answer)
    assert work(here.queues.syncs) == [key_of(sync)]
    assert work(here.queues.sources) == [], "whoever wrote it knows"
