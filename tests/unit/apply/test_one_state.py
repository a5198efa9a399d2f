"""An object that goes between a look at it and its dry run, which no test can time in a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.kit.samples import KEY, observed, oid

from setpoint.api import names
from setpoint.apply.dry_run import Actor, DryRun, DryRunner, Session
from setpoint.kube.client import Written
from setpoint.objects.identity import Manifest, ObjectId, owner_annotation
from setpoint.objects.kinds import Kind
from setpoint.plan.change import Action
from setpoint.plan.desired import Desired
from setpoint.runtime.fairness import Limits
from setpoint.runtime.slots import Slots

OID = oid("a")
GIT: Manifest = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "a",
        "namespace": "shop",
        "annotations": {names.ANNOTATION_OWNER: owner_annotation(KEY, OID)},
    },
}


def stored(version: str | None) -> Manifest:
    """Return the object as the API server has it at a version; None: as one that it would create."""
    own = {"manager": names.FIELD_MANAGER, "operation": "Apply", "apiVersion": "v1", "fieldsV1": {}}
    known = {"uid": "u", "resourceVersion": version} if version else {}
    return {**GIT, "metadata": {**GIT["metadata"], **known, "managedFields": [own]}}


class Answers:
    """Answers reads and dry runs one after the other, and notes of what it was told that it is missing."""

    def __init__(self, reads: list[str | None], runs: list[str | None]) -> None:
        self._reads, self._runs = iter(reads), iter(runs)
        self.absent: list[ObjectId] = []

    async def get(self, *_: Any, **__: Any) -> Manifest | None:
        version = next(self._reads)
        return stored(version) if version else None

    async def apply(self, *_: Any, **__: Any) -> Written:
        version = next(self._runs)
        return Written(dict(stored(version)), version is None, ())

    def rest(self) -> Iterator[str | None]:
        yield from self._reads
        yield from self._runs

    def missing(self, oid: ObjectId) -> None:
        self.absent.append(oid)


@pytest.mark.parametrize(
    ("reads", "runs"),
    [
        (["7", None], [None]),  # gone before the dry run
        (["7", None], ["8", None]),  # after it, and after another write
    ],
)
@pytest.mark.parametrize("ends", [False, True])
async def test_what_goes_between_the_two_is_missing(
    reads: list[str | None], runs: list[str | None], *, ends: bool
) -> None:
    """It is created again; what may have come to its own end is not, before anybody knows."""
    answers = Answers(reads, runs)
    informers: Any = SimpleNamespace(get=lambda _: observed("a"), missing=answers.missing)
    who = Actor(
        key=KEY,
        label="l",
        user="u",
        rules=(),
        people=frozenset(),
        takeover=frozenset(),
        owner_of=lambda _: KEY,
        is_lent=lambda _: False,
        abort=False,
        create_namespace=None,
        expected=frozenset([OID] if ends else ()),
    )
    session = Session(cast("Any", answers), informers, cast("Any", None), Slots(Limits(1)), who)
    kind = Kind("", "v1", "ConfigMap", "configmaps", namespaced=True, verbs=frozenset())
    d = Desired(OID, GIT, "d1", "a.yaml:1", kind)
    (found,) = await DryRunner(session).check([d])
    assert isinstance(found, DryRun)
    assert (found.change.action, found.live) == (Action.KEEP if ends else Action.CREATE, None)
    assert answers.absent == ([OID] if ends else [])
    assert list(answers.rest()) == []
