"""The killer itself: each point is one kill, and it belongs to the phase that armed it."""

from __future__ import annotations

import asyncio
import threading
from typing import cast

import pytest
from tests.crash.killable import KillableOperator
from tests.crash.killer import AGENT, Killer, Point
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Action, Alter, CutError, Match, Reply, Request

REQUEST = Request("PATCH", "/path", "", AGENT, "", "", 0.0)


class Proxy:
    """Takes the one rule, and applies it as the proxy does."""

    def on(self, match: Match, action: Action) -> None:
        self._match, self._action = match, action

    def arrives(self) -> Reply | Alter | None:
        """A request; what becomes of it."""
        return asyncio.run(self._action(REQUEST)) if self._match(REQUEST) else None  # type: ignore[arg-type]


class Operator:
    """Counts its ends."""

    kills = 0

    def kill(self) -> None:
        self.kills += 1

    def reborn(self) -> int:
        return 1


def killer() -> tuple[Killer, Proxy, Operator]:
    proxy, operator = Proxy(), Operator()
    return Killer(cast(ApiProxy, proxy), cast(KillableOperator, operator)), proxy, operator


def cut_by(answer: Reply | Alter | None) -> None:
    assert callable(answer)
    with pytest.raises(CutError):
        answer(Reply(200))


def test_a_kill_that_waits_for_an_answer_belongs_to_the_phase_that_ends_meanwhile() -> None:
    it, proxy, operator = killer()
    it.arm([Point(2, after=True)])
    assert proxy.arrives() is None
    answer = proxy.arrives()
    assert operator.kills == 0
    phase = threading.Thread(target=it.finish)
    phase.start()
    cut_by(answer)
    phase.join()
    assert operator.kills == 1
    assert it.done == ["after request 2 (PATCH /path)"]


def test_a_point_that_was_never_reached_is_a_kill_at_rest() -> None:
    it, proxy, operator = killer()
    it.arm([Point(2), Point(1)])
    assert proxy.arrives() is None
    it.finish()
    assert operator.kills == 2
    assert all("at rest" in each for each in it.done)
    assert proxy.arrives() is None
    assert operator.kills == 2
