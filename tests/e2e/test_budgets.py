"""A commit that is a bomb for one Sync: it says so and keeps what it had; the Sync beside it goes on."""

from __future__ import annotations

import pytest
from pygit2.enums import FileMode
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.faults.steps import enforced
from tests.kit.api import condition, says
from tests.kit.bombs import Bombs

pytestmark = pytest.mark.cluster


def test_ten_million_paths_stop_one_sync_and_no_other(world: World) -> None:
    sha = world.repo.commit({"a/a.yaml": config("a", k="1"), "b/b.yaml": config("b", k="1")}, "First")
    world.source()
    world.sync(path="a")
    world.sync("other", path="b")
    world.until("Sync", "app", ready_at(sha))
    world.until("Sync", "other", ready_at(sha))
    bombs = Bombs(world.repo.path)
    many = bombs.nested(6, 10, bombs.files(10))
    other = bombs.folder([("b.yaml", bombs.file(config("b", k="2").encode()), FileMode.BLOB)])
    sha = bombs.commit(bombs.folder([("a", many, FileMode.TREE), ("b", other, FileMode.TREE)]))
    world.until("Sync", "other", ready_at(sha))
    assert world.get("ConfigMap", "b")["data"] == {"k": "2"}
    words = "files, more than the 50,000 of settings.maxFiles; let spec.path name a smaller folder"
    sync = world.until("Sync", "app", says("TooLarge", words))
    assert "stays enforced" in condition(sync)["message"]
    assert not sync["status"]["applied"]["revision"].endswith(sha)
    enforced(world)
    sha = world.repo.commit({"a": None, "a/a.yaml": config("a", k="2")}, "Defused")
    world.until("Sync", "app", ready_at(sha))
