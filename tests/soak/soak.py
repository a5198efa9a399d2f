"""The soak: commits, edits, deletions and faults at random, rest now and then, and at each rest everything is checked."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from threading import Event

from tests.kit.cluster.processes import until
from tests.soak.faults import Faults
from tests.soak.figures import Sample, judge, sample, table, temporary_files
from tests.soak.stage import Stage
from tests.soak.team import Team

TEAMS = 3
PACE = (0.1, 1.2)  # seconds between two actions
FAULT_EVERY = 12  # actions
TABLE_EVERY = 10  # rests
RESTART_SHARE = 0.1  # of the rounds have a restart of kube-apiserver
# What was collected of gone processes ends within this time: a Git process lives for half a minute without work.
QUIET_SECONDS = 60.0

Say = Callable[[str], None]


class Soak:
    """See the module; `samples` has what the operator used at each rest."""

    def __init__(self, stage: Stage, random: Random, say: Say) -> None:
        self._stage, self._random, self._say = stage, random, say
        self._teams = [Team(stage.world(), random, kinds=number == 0) for number in range(TEAMS)]
        names = [team.world.namespace for team in self._teams]
        self._faults = Faults(stage, random, lambda: names)
        self._pause = Event()
        self._began = time.monotonic()
        self.samples: list[Sample] = []
        self.actions: dict[str, int] = {}

    @property
    def minutes(self) -> float:
        """Minutes since the beginning."""
        return (time.monotonic() - self._began) / 60

    @property
    def counts(self) -> str:
        """What happened so far."""
        rows = [*sorted(self.actions.items()), *sorted(self._faults.count.items())]
        return ", ".join(f"{name} {count}" for name, count in rows)

    def run(self, minutes: float, round_seconds: float) -> None:
        """Play for so long, resting after each round; raises AssertionError for what is not right at a rest."""
        self.rest()
        while self.minutes < minutes:
            self.round(round_seconds)
            self.rest()

    def round(self, seconds: float) -> None:
        """Let things happen for a while."""
        end, number = time.monotonic() + seconds, 0
        if self._random.random() < RESTART_SHARE:
            self._faults.restart_apiserver()
        while time.monotonic() < end:
            if number % FAULT_EVERY == 0:
                self._faults.begin() if self._random.random() < 0.8 else self._faults.end()
            number += 1
            assert self._stage.operator.running, f"the operator ended: {self._stage.operator.tail()}"
            self._act(self._random.choice(self._teams))
            self._pause.wait(self._random.uniform(*PACE))
        self._faults.end()

    def rest(self) -> None:
        """Have all come to rest, check everything, and see what the operator uses."""
        try:
            for team in self._teams:
                team.calm()
            for team in self._teams:
                team.settle()
                team.check()
        except BaseException as error:
            error.add_note("\n".join(team.scene() for team in self._teams))
            raise
        assert self._stage.operator.running, self._stage.operator.tail()
        self._stage.proxy.clear()
        self._stage.git.requests.clear()
        stage = self._stage
        seen = sample(self.minutes, stage.operator.pid, stage.metrics, stage.cache)
        self.samples.append(seen)
        self._say(f"{seen}")
        if len(self.samples) % TABLE_EVERY == 0:
            self._say(f"so far: {self.counts}\n{table(judge(self.samples))}")

    def end(self) -> None:
        """Delete all Syncs; nothing of them stays in the cluster or on the disk."""
        for team in self._teams:
            team.end()
        cache = self._stage.cache
        until(lambda: not _left(temporary_files(cache)), "end of temporary files", QUIET_SECONDS)

    def _act(self, team: Team) -> None:
        weights, actions = zip(*((w, a) for w, a in team.actions()), strict=True)
        action = self._random.choices(actions, weights)[0]
        name = action.__name__.strip("_")
        self.actions[name] = self.actions.get(name, 0) + 1
        action()


def _left(files: list[Path]) -> list[Path]:
    """Without the folder of the living process."""
    return [each for each in files if each.parent.name != "run"]
