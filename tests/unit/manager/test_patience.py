"""A worker that dies costs a run, never a back-off; what it dies of again and again comes alone, and is told at last."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.kit import virtualtime

from setpoint.api.reasons import Problem, Reason
from setpoint.manager.patience import MOST_DEATHS, START_SECONDS, TURN_SECONDS, Patient
from setpoint.wall.errors import ProtocolError, WorkerAway, WorkerGone
from setpoint.wall.messages import (
    Build,
    Check,
    Compare,
    Compared,
    Failed,
    GitRef,
    Login,
    Look,
    Place,
    Placed,
    Places,
    Same,
)


def build(path: str) -> Build:
    return Build(Look("team", "handle", "a" * 40, submodules=False, spec={"path": path}), ())


class Fragile:
    """A worker that dies of one path, with all that it is at work on."""

    def __init__(self, deadly: str = "") -> None:
        self.deadly, self.asked, self.at_work = deadly, list[str](), 0
        self.most = 0
        self.gone = asyncio.Event()

    async def build(self, request: Build) -> Same:
        path = request.look.spec["path"]
        self.asked.append(path)
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            if path == self.deadly:
                await asyncio.sleep(0)
                self.gone.set()
                self.gone = asyncio.Event()
                raise WorkerGone("dead")
            gone = asyncio.create_task(self.gone.wait())
            done, _ = await asyncio.wait({gone}, timeout=0.01)
            gone.cancel()
            if done:
                raise WorkerGone("dead")
            return Same(path, "")
        finally:
            self.at_work -= 1


async def ready() -> None:
    """The worker is there."""


def patient(worker: Any) -> Patient:
    return Patient(cast("Any", worker), ready)


async def run(asking: Patient, path: str) -> Any:
    """Ask until there is an answer, as runs do."""
    while True:
        try:
            return await asking.build(build(path))
        except WorkerGone:
            await asyncio.sleep(0)


async def test_what_was_at_work_with_the_culprit_is_answered_and_the_culprit_is_told() -> None:
    worker = Fragile("deadly")
    asking = patient(worker)
    found = await asyncio.gather(*(run(asking, path) for path in ("a", "deadly", "b", "c")))
    assert [each for each in found if isinstance(each, Same)] == [Same(p, "") for p in "abc"]
    assert isinstance(found[1], Failed)
    assert found[1].reason is Reason.RenderCrashed
    assert worker.asked.count("deadly") == MOST_DEATHS
    assert all(worker.asked.count(p) <= MOST_DEATHS for p in "abc")
    worker.deadly = ""
    assert await run(asking, "deadly") == Same("deadly", ""), "it has another try, and is trusted again"
    both = await asyncio.gather(run(asking, "deadly"), run(asking, "a"))
    assert list(both) == [Same("deadly", ""), Same("a", "")]


async def test_who_was_at_work_at_a_death_runs_alone_beside_those_who_were_not() -> None:
    worker = Fragile("deadly")
    asking = patient(worker)
    await asyncio.gather(*(asking.build(build(p)) for p in ("a", "b", "deadly")), return_exceptions=True)
    worker.most, worker.deadly = 0, ""
    await asyncio.gather(*(run(asking, p) for p in ("a", "b", "deadly", "new")))
    assert worker.most == 2


def test_what_hangs_after_a_death_holds_up_nobody_for_long() -> None:
    """Many builds that hang would each have their minute, one after the other, before who was at work beside them."""

    class Hanging(Fragile):
        async def build(self, request: Build) -> Same:
            if request.look.spec["path"].startswith("hangs") and not self.deadly:
                await asyncio.Event().wait()
            return await super().build(request)

    async def play() -> None:
        worker = Hanging("deadly")
        asking, loop = patient(worker), asyncio.get_running_loop()
        paths = ("hangs1", "hangs2", "a", "deadly")
        await asyncio.gather(*(asking.build(build(p)) for p in paths), return_exceptions=True)
        worker.deadly = ""
        hanging = [asyncio.create_task(asking.build(build(p))) for p in paths[:2]]
        await asyncio.sleep(0)
        began = loop.time()
        assert await asking.build(build("a")) == Same("a", "")
        assert loop.time() - began <= TURN_SECONDS + 1
        for each in hanging:
            each.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        assert not asking._alone.locked()

    virtualtime.run(play())


async def test_a_worker_that_does_not_come_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("setpoint.manager.patience.START_SECONDS", 0.01)

    async def never() -> None:
        await asyncio.Event().wait()

    asking = Patient(cast("Any", Fragile()), never)
    with pytest.raises(WorkerAway):
        await asking.build(build("a"))
    assert asking._deaths == {}, "it was not at work on it"


def test_a_worker_that_is_away_is_waited_for_once() -> None:
    """Who waits holds a slot that those could use who need no worker."""

    async def play() -> None:
        back, loop = asyncio.Event(), asyncio.get_running_loop()
        asking = Patient(cast("Any", Fragile()), back.wait)  # type: ignore[arg-type]
        for expected in (START_SECONDS, 0.0, 0.0):
            began = loop.time()
            with pytest.raises(WorkerAway):
                await asking.build(build("a"))
            assert loop.time() - began == pytest.approx(expected)
        back.set()
        assert await asking.build(build("a")) == Same("a", "")
        back.clear()
        loop.call_later(START_SECONDS / 2, back.set)
        assert await asking.build(build("a")) == Same("a", ""), "it is waited for again"

    virtualtime.run(play())


@pytest.mark.parametrize("error", [ProtocolError("it speaks in tongues"), Problem(Reason.TooLarge, "large")])
async def test_what_cannot_be_answered_is_an_answer_of_its_own(error: Exception) -> None:
    async def fails(_request: Any) -> Any:
        raise error

    worker = SimpleNamespace(check=fails, compare=fails, places=fails)
    asking = patient(worker)
    place = Place("team", "https://git.example.org/x", Login(), submodules=False, timeout=1.0)
    found = await asking.check(Check(place, GitRef()))
    assert isinstance(found, Failed)
    assert found.reason is (Reason.TooLarge if isinstance(error, Problem) else Reason.InternalError)
    assert await asking.compare(Compare("h", "a", "b", submodules=False, read_sets=())) == Compared(
        everything=True
    )
    assert await asking.places(Places(build("a").look, "d")) == Placed()
