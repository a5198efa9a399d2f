"""What the bench can measure, by name."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import bombs, fairness, fleet, growth, history, siege, size, storm
from tests.bench.report import Figure, Figures

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How to measure: how many, for how long nothing is done, and a folder for profiles."""

    n: int
    idle: float
    profile: Path | None
    say: Say


@dataclass(frozen=True)
class Scenario:
    """One scenario: what it is, how many it takes unless told, and what it measures."""

    title: str
    n: int
    figures: Callable[[int], Sequence[Figure]]
    run: Callable[[Options], Coroutine[Any, Any, Figures]]


SCENARIOS = {
    "fleet": Scenario(
        "the budgets of the design, over N Syncs of 4 objects",
        100,
        lambda _: fleet.FIGURES,
        lambda o: fleet.run(o.n, idle_seconds=o.idle, profile=o.profile, say=o.say),
    ),
    "growth": Scenario(
        "what a commit costs at N/10, 3N/10 and N Syncs, and memory for each",
        1000,
        growth.figures,
        lambda o: growth.run(o.n, idle_seconds=o.idle, say=o.say),
    ),
    "size": Scenario(
        "one Sync of N ConfigMaps",
        10_000,
        partial(size.figures, "ConfigMap"),
        lambda o: size.run("ConfigMap", o.n, say=o.say),
    ),
    "deployments": Scenario(
        "one Sync of N Deployments without replicas",
        3_000,
        partial(size.figures, "Deployment"),
        lambda o: size.run("Deployment", o.n, say=o.say),
    ),
    "history": Scenario(
        "a repository of N files and N/5 commits",
        50_000,
        history.figures,
        lambda o: history.run(o.n, say=o.say),
    ),
    "storm": Scenario(
        "commits in a row, 4N edits at once, a chatty object, with N Syncs",
        250,
        storm.figures,
        lambda o: storm.run(o.n, say=o.say),
    ),
    "fairness": Scenario(
        "N healthy Syncs beside N failing ones",
        100,
        fairness.figures,
        lambda o: fairness.run(o.n, idle_seconds=o.idle, say=o.say),
    ),
    "bombs": Scenario(
        "for how long what a tenant sends holds the operator's event loop",
        1,
        bombs.figures,
        lambda o: bombs.run(say=o.say),
    ),
    "siege": Scenario(
        "N Syncs of one tenant beside another who sends bombs and has silent servers",
        100,
        siege.figures,
        lambda o: siege.run(o.n, say=o.say),
    ),
}
