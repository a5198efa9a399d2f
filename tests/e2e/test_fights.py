"""Another writer that undoes every correction: Setpoint backs off, names it, and heals when it stops."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import Json, condition, is_ready
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Request

pytestmark = pytest.mark.cluster
WRITER = "stubborn-controller"
CORRECTIONS = 6
"""More than five in a minute are a fight (design, 3)."""
STUBBORN = {"k": "theirs"}


class Stubborn:
    """Writes its own value over everybody's, as soon as a watch shows another."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=WRITER)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write no more. A write of somebody else ends the watch."""
        self._stop.set()
        label = {"metadata": {"annotations": {"example.org/stop": WRITER}}}
        self._world.api.merge("ConfigMap", self._world.target, "a", label, manager="some-controller")
        self._thread.join()

    def _run(self) -> None:
        with closing(self._watch()) as stream:
            for line in stream:
                if self._stop.is_set():
                    return
                if json.loads(line)["object"].get("data") != STUBBORN:
                    self._write()

    def _write(self) -> None:
        self._world.api.merge("ConfigMap", self._world.target, "a", {"data": {"k": "theirs"}}, manager=WRITER)

    def _watch(self) -> Any:
        query = urlencode({"watch": "1", "fieldSelector": "metadata.name=a"})
        path = self._world.api.path("ConfigMap", self._world.target)
        return self._world.api.request("GET", f"{path}?{query}", timeout=300)


@contextmanager
def fighting(world: World) -> Iterator[None]:
    """Start a fight over `a`, and wait until Setpoint backs off."""
    sha = world.repo.commit({f"{name}.yaml": config(name, k="1") for name in "ab"}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    writer = Stubborn(world)
    writer.start()
    try:
        world.until("Sync", "app", difference)
        yield
    finally:
        writer.stop()


def difference(sync: Json | None) -> Json | None:
    """Return the difference that tells of a fight."""
    found = (sync or {}).get("status", {}).get("differences", [])
    return next((d for d in found if d["reason"] == "Fight"), None)


def writes(proxy: ApiProxy, world: World, name: str) -> list[Request]:
    """Return the operator's writes of a ConfigMap."""
    return [r for r in proxy.writes if r.path == world.api.path("ConfigMap", world.target, name)]


def test_it_backs_off_and_names_the_other(world: World, proxy: ApiProxy) -> None:
    with fighting(world):
        sync = world.until("Sync", "app", lambda o: difference(o) and o["status"]["driftLog"])
        found = difference(sync) or {}
        assert (found["name"], found["sync"]) == ("a", "OutOfSync")
        assert WRITER in found["message"]
        assert "at /data/k;" in found["message"]
        assert f"paths: {json.dumps(['/data/k'])}}}" in found["message"]
        assert condition(sync)["status"] == "False"
        assert WRITER in condition(sync)["message"]
        assert sync["status"]["summary"]["corrected"] == CORRECTIONS
        assert {e["manager"] for e in sync["status"]["driftLog"]} == {WRITER}
        assert len(writes(proxy, world, "a")) == 1 + CORRECTIONS
        # One more provocation, and a run that surely came after it: `b` is corrected, `a` is left alone.
        world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "more"}}, manager=WRITER)
        world.until("ConfigMap", "a", lambda o: o["data"] == STUBBORN)
        world.api.merge("ConfigMap", world.target, "b", {"data": {"k": "hand"}})
        world.until("ConfigMap", "b", lambda o: o["data"] == {"k": "1"})
        world.until("Sync", "app", lambda o: o["status"]["summary"]["corrected"] == CORRECTIONS + 1)
        assert len(writes(proxy, world, "a")) == 1 + CORRECTIONS
        assert world.get("ConfigMap", "a")["data"] == STUBBORN
        # The rule at the end of the message, copied as it stands, is peace.
        text = found["message"]
        world.sync(ignore=[yaml.safe_load(text[text.index("{target:") :])])
        world.until("Sync", "app", is_ready)
        assert difference(world.api.get("Sync", world.namespace, "app")) is None
        assert world.get("ConfigMap", "a")["data"] == STUBBORN


def test_who_asks_for_a_check_ends_the_back_off(world: World) -> None:
    with fighting(world):
        pass
    assert world.get("ConfigMap", "a")["data"] == STUBBORN
    world.ask("Sync", "app", "peace")
    world.until("ConfigMap", "a", lambda o: o["data"] == {"k": "1"})
    sync = world.until("Sync", "app", is_ready)
    assert difference(sync) is None


def test_it_heals_by_itself_within_the_minute(world: World) -> None:
    with fighting(world):
        pass
    world.until("ConfigMap", "a", lambda o: o["data"] == {"k": "1"}, seconds=180)
    sync = world.until("Sync", "app", is_ready)
    assert sync["status"]["summary"]["corrected"] == CORRECTIONS + 1
    assert difference(sync) is None
