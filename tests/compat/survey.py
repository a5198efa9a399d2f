"""Finds out which fields of an object may change, by dry runs of the API server.

What may change is packed into rounds: the changes of one round are accepted together. A field is immutable if the server
would make an object with the new value, but would not change this one to it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.compat.catalog import Exceptions, Json, kind_of
from tests.compat.schema import Leaf, Schemas, replaced, value_at
from tests.compat.server import Answer, Server
from tests.compat.values import candidates

from setpoint.api import names
from setpoint.api.reasons import Reason
from setpoint.kube.errors import error_of_status
from setpoint.kube.explain import problem_of
from setpoint.objects.identity import identity

MARKS = (("labels", "setpoint.dev/sync"), ("annotations", "setpoint.dev/owner"))

TRIES = 6
"""Values for one field, at most."""


@dataclass(frozen=True, slots=True)
class Change:
    """Another value for a field of a manifest."""

    leaf: Leaf
    value: Any


@dataclass(frozen=True, slots=True)
class Refused:
    """A change that the API server refuses although the value is a good one, and how the operator would tell it."""

    change: Change
    reason: Reason
    words: str


@dataclass(slots=True)
class Survey:
    """What was found out of one object."""

    manifest: Json
    rounds: list[list[Change]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    """Fields for which no other value was accepted, with what the server said last."""

    @property
    def changed(self) -> set[str]:
        """The fields that may change."""
        return {c.leaf.field.name for each in self.rounds for c in each}


class Surveyor:
    """Surveys objects that the operator has applied."""

    def __init__(self, server: Server, schemas: Schemas, known: Exceptions) -> None:
        self._server, self._schemas, self._known = server, schemas, known
        self._tried: dict[str, tuple[Any, ...]] = {}
        """What a field of a pod template could be changed to: the first to try in each kind that has one."""

    def survey(self, manifest: Json) -> Survey:
        """Return which fields of an object may change, and which may not."""
        live = self._server.get(manifest)
        assert live is not None, f"{manifest['kind']} {manifest['metadata']['name']} is not there"
        base, found = _marked(manifest, live), Survey(manifest)
        tries = {leaf.field.name: self._tries(leaf, manifest) for leaf in self._leaves(manifest)}
        first = [each[0] for each in tries.values() if each]
        found.unknown = {name: "no other value is known" for name, each in tries.items() if not each}
        # Next to nothing of these may change, so nothing is gained by asking for many at once.
        one_by_one = manifest["kind"] in {"Pod", "Job"}
        accepted, rest = ([], first) if one_by_one else self._packed(base, live, first)
        later: list[Change] = []
        for change in rest:
            later += self._alone(base, live, tries[change.leaf.field.name], found)
        found.rounds = [accepted] if accepted else []
        while later:
            accepted, later = self._packed(base, live, later)
            if not accepted:
                raise AssertionError(f"accepted alone, and then no more: {later}")
            found.rounds.append(accepted)
        self._learn(found)
        return found

    def _learn(self, found: Survey) -> None:
        if "PodTemplate" not in found.manifest["kind"]:
            return
        for change in (c for each in found.rounds for c in each):
            self._tried[_of_pod(change.leaf.field.name)] = (change.value,)

    def _leaves(self, manifest: Json) -> list[Leaf]:
        """Return one place for each field: the first that is not our own, for a change of that is no drift."""
        found: dict[str, Leaf] = {}
        for leaf in self._schemas.leaves(manifest):
            if not str(leaf.path[-1]).startswith(f"{names.GROUP}/"):
                found.setdefault(leaf.field.name, leaf)
        return [*found.values()]

    def _tries(self, leaf: Leaf, manifest: Json) -> list[Change]:
        by_hand = self._known.values_for(kind_of(manifest), leaf.field.name)
        values = candidates(leaf.field, leaf.value) if by_hand is None else by_hand
        known = [v for v in self._tried.get(_of_pod(leaf.field.name), ()) if by_hand is None or v in by_hand]
        return [Change(leaf, v) for v in [*known, *(v for v in values if v not in known)] if v != leaf.value]

    def _packed(self, base: Json, live: Json, changes: Sequence[Change]) -> tuple[list[Change], list[Change]]:
        """Return changes that are accepted together and take effect, and all others."""
        good: list[Change] = []

        def add(some: Sequence[Change]) -> None:
            answer = self._server.applied(with_changes(base, [*good, *some]))
            if answer.is_accepted:
                made = with_changes(base, [*good, *some])
                good.extend(c for c in some if _takes_effect(c, made, live, answer))
            elif len(some) > 1:
                half = len(some) // 2
                add(some[:half])
                add(some[half:])

        if changes:
            add(changes)
        return good, [c for c in changes if c not in good]

    def _alone(self, base: Json, live: Json, tries: Sequence[Change], found: Survey) -> list[Change]:
        """Return the first change of a field that is accepted and takes effect; else note why there is none."""
        words = ""
        for change in tries[:TRIES]:
            made = with_changes(base, [change])
            answer = self._server.applied(made)
            if answer.is_accepted:
                if _takes_effect(change, made, live, answer):
                    return [change]
                words = f"{change.value!r} has no effect"
            elif self._server.is_valid(made):
                found.refused.append(_refused(change, made, answer))
                return []
            else:
                words = f"{change.value!r}: {answer.body.get('message')}"
        found.unknown[tries[0].leaf.field.name] = words
        return []


def _of_pod(name: str) -> str:
    """Return the name of a field of a pod template as a Pod has it."""
    return re.sub(r"^(\.spec\.jobTemplate)?(\.spec)?\.template(?=\.spec)", "", name)


def with_changes(manifest: Json, changes: Sequence[Change]) -> Json:
    """Return a manifest with other values."""
    for change in changes:
        manifest = replaced(manifest, change.leaf.path, change.value)
    return manifest


def _marked(manifest: Json, live: Json) -> Json:
    """Return what the operator sends: the manifest, where it is to be, with the marks that it has."""
    meta = dict(manifest["metadata"])
    if namespace := live["metadata"].get("namespace"):
        meta["namespace"] = namespace
    for part, mark in MARKS:
        meta[part] = {**meta.get(part, {}), mark: live["metadata"][part][mark]}
    return {**manifest, "metadata": meta}


def _takes_effect(change: Change, made: Json, live: Json, answer: Answer) -> bool:
    """Whether the answer has the new value; what is false, 0 or empty may be left out, and means the same."""
    _, value = value_at(answer.body, change.leaf.path, made)
    _, before = value_at(live, change.leaf.path, made)
    return (value or None) != (before or None)


def _refused(change: Change, made: Json, answer: Answer) -> Refused:
    error = error_of_status(answer.body, answer.status, secret=made["kind"] == "Secret")
    problem = problem_of(error, identity(made), "apply")
    return Refused(change, problem.reason, problem.message)
