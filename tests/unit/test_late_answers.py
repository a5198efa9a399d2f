"""The answer to a write of ours says what an object is, and not that there still is one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from setpoint.app import Operator
from setpoint.objects import SyncKey
from setpoint.queue import Result
from setpoint.settings import Settings
from setpoint.store import Body, key_of
from setpoint.telemetry import Telemetry


def body(kind: str, uid: str, version: int) -> Body:
    meta = {"namespace": "team", "name": "one", "uid": uid, "resourceVersion": str(version)}
    return {"apiVersion": "setpoint.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": {}}


class Connection:
    """To nowhere."""

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Operator]:
    """An operator whose queues do not run yet."""
    cluster: Any = Connection()
    settings = Settings(namespace="sys", cluster_id="c", cache_dir=str(tmp_path))
    made = Operator(settings, cluster, cluster, Telemetry(), None)
    yield made
    await made.close()


def event(here: Operator, kind: str, about: Body) -> None:
    (here.source_event if about["kind"] == "Source" else here.sync_event)(kind, about)


def known(here: Operator, kind: str) -> list[Body]:
    found = here.store.sources if kind == "Source" else here.store.syncs
    return list(cast("dict[Any, Body]", found).values())


@pytest.mark.parametrize("kind", ["Source", "Sync"])
async def test_a_late_answer_brings_nothing_back_that_is_deleted(here: Operator, kind: str) -> None:
    event(here, "ADDED", body(kind, "u1", 10))
    here._written(body(kind, "u1", 11))
    assert known(here, kind) == [body(kind, "u1", 11)]
    event(here, "DELETED", body(kind, "u1", 13))
    here._written(body(kind, "u1", 12))
    assert known(here, kind) == []


@pytest.mark.parametrize("kind", ["Source", "Sync"])
async def test_a_late_answer_takes_nothing_from_what_is_made_again(here: Operator, kind: str) -> None:
    event(here, "ADDED", again := body(kind, "u2", 11))
    here._written(body(kind, "u1", 12))
    assert known(here, kind) == [again]


async def test_syncs_are_told_of_an_answer_about_their_source(here: Operator) -> None:
    sync = body("Sync", "u9", 5) | {"spec": {"source": {"name": "one"}}}
    here.store.put_sync(sync)
    event(here, "ADDED", body("Source", "u1", 10))
    here.sync_queue.take(failing=False)
    here.sync_queue.done(key_of(sync), Result())
    answer = body("Source", "u1", 11)
    answer["metadata"]["generation"] = 2
    here._written(answer)
    assert here.sync_queue.busy(key_of(sync))


async def test_a_commit_that_a_run_of_its_sync_does_not_ask_for_is_not_wanted_any_more(
    here: Operator,
) -> None:
    source, sync, sha = SyncKey("team", "one"), SyncKey("team", "two"), "c" * 40

    async def asks(key: SyncKey) -> Result:
        here.sources.want(source, key, sha)
        return Result()

    async def asks_not(_key: SyncKey) -> Result:
        return Result()

    for reconcile, expected in [(asks, {sha: {sync}}), (asks, {sha: {sync}}), (asks_not, {})]:
        here._syncs = cast("Any", SimpleNamespace(reconcile=reconcile))
        await here._reconcile(sync)
        assert here.sources._memory[source].older == expected
