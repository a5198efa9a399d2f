"""The operator is killed (SIGKILL) at random points of install, upgrade, prune, hand-over and delete.

After each kill it starts again, and all is as if it had never died. In CI the points are the same each time; with
`make soak KILLS=1000` they are drawn anew, and SEED repeats them (what runs beside them is never the same).
"""

from __future__ import annotations

import os
from random import Random

import pytest
from tests.crash.conftest import Range
from tests.crash.scenario import EXTRAS, PHASES, Scenario
from tests.kit.ci import CI

KILLS = int(os.environ.get("SETPOINT_KILLS") or (80 if CI else 0))
SEED = os.environ.get("SETPOINT_SEED", "cb2c4583")
WORLDS = 4
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.timeout(0),
    pytest.mark.skipif(not KILLS, reason="takes minutes: runs in CI, and with `make soak KILLS=200`"),
]


@pytest.mark.parametrize("number", range(WORLDS))
def test_whenever_it_is_killed_the_next_start_repairs(shooting_range: Range, number: int) -> None:
    random = Random(f"{SEED}/{number}")
    operator, budget = shooting_range.operator, -(-KILLS // WORLDS)
    before = operator.kills
    scenario = Scenario(shooting_range.world(), operator, shooting_range.killer, random)
    try:
        scenario.cycle(0)  # nothing is killed: what it takes is measured
        while (left := budget - (operator.kills - before)) > 0:
            scenario.cycle(left, random.choice(EXTRAS))
        operator.no_orphans()
    except BaseException as error:
        told = "\n".join([*scenario.told, *(f"  killed {each}" for each in shooting_range.killer.done)])
        error.add_note(
            f"SETPOINT_SEED={SEED} world {number}, operator log {operator.log}\n{told}\n{scenario.scene()}"
        )
        raise
    print(f"\nSETPOINT_SEED={SEED} world {number}: {scenario.kills}")
    assert sum(scenario.kills.values()) >= budget
    assert budget < 3 * len(PHASES) or all(scenario.kills.values())
