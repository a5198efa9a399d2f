"""That a kind is not known, or not served for a moment, says nothing about its objects: none is given up for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.kit.samples import Woken, context, target
from tests.kit.syncworld import Pods

from setpoint.api import names
from setpoint.api.reasons import Problem, Reason
from setpoint.api.resources import Sync
from setpoint.apply.deleter import Deleter
from setpoint.kube.absence import unreadable
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.identity import ObjectId, SyncKey, owner_annotation
from setpoint.objects.inventory import grouped
from setpoint.objects.kinds import Kind
from setpoint.runtime.fairness import Limits
from setpoint.runtime.slots import Slots
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.run import Context, Evaluation, PruneResult
from setpoint.syncs.steps.deletion import Deletion, Ending, Others
from setpoint.syncs.steps.pruner import Pruner

KEY, WIDGET = SyncKey("team", "app"), ObjectId("example.org", "Widget", "shop", "w")
CRD = ("apiextensions.k8s.io", "CustomResourceDefinition")
SYNC = Sync.model_validate(
    {
        "apiVersion": "setpoint.dev/v1alpha1",
        "kind": "Sync",
        "metadata": {"name": KEY.name, "namespace": KEY.namespace},
        "spec": {"source": {"name": "src"}},
    }
)
NO_KIND = "the server could not find the requested resource"


class World:
    """A cluster with one Widget, as far as discovery knows: `served` now, and `later` once it is asked anew."""

    def __init__(self, served: set[tuple[str, str]], later: set[tuple[str, str]] | None = None) -> None:
        self.served, self.later = served, served if later is None else later
        self.broken_groups: frozenset[str] = frozenset()
        self.answers, self.there, self.discoveries = True, True, 0

    def kind_of_group(self, group: str, kind: str) -> Kind | None:
        known = (group, kind) in self.served
        return Kind(group, "v1", kind, f"{kind.lower()}s", True, frozenset()) if known else None

    def kind(self, _version: str, kind: str) -> Kind | None:
        return self.kind_of_group("", kind)

    async def discover(self) -> None:
        self.discoveries += 1
        self.served = self.later

    async def get(self, kind: Kind, namespace: str, name: str, user: str = "") -> dict[str, Any] | None:
        assert user or kind.kind == CRD[1]
        if kind.kind == CRD[1]:
            return {"metadata": {"name": name}}
        if not self.answers:
            raise ApiError(404, "NotFound", NO_KIND)
        owner = {names.ANNOTATION_OWNER: owner_annotation(KEY, WIDGET)}
        meta = {"namespace": namespace, "name": name, "uid": "u", "annotations": owner}
        return {"metadata": meta} if self.there else None

    async def delete(self, *_: Any, **__: Any) -> bool:
        self.there = False
        return True

    def remover(self) -> Deleter:
        return Deleter(cast("Cluster", self), Slots(Limits(4)), KEY, "system:serviceaccount:team:deployer")

    async def ended(self) -> Ending:
        inventory = {WIDGET: "example.org/v1"}
        deletion = Deletion(cast("Cluster", self), Store())
        return await deletion.run(KEY, SYNC, inventory, self.remover(), Others(None, {}))

    async def dropped(self, now: Context, *, complete: bool) -> PruneResult:
        """Have a commit without the Widget that a Sync has."""
        claims, settings = Claims(), SimpleNamespace(people_managers=())
        fleet = Dispatcher(Store(), claims, "c", Woken())
        stubs: tuple[Any, ...] = (settings, self, {}, Store(), claims, None, None, fleet)
        pruner = Pruner(*stubs)
        if complete:
            begun = pruner.begin(now, target(), {})
            assert WIDGET in begun.kept
            return await pruner.prune(now, Evaluation(target=target()), begun, self.remover(), Pods())
        return await pruner.hand_over(now, target())


def owner() -> Context:
    """A run of a Sync that has the Widget."""
    return context({"inventory": grouped([("example.org/v1", WIDGET)])})


WITHOUT, WITH = {CRD}, {CRD, (WIDGET.group, WIDGET.kind)}


async def test_a_group_that_does_not_answer_ends_no_deletion() -> None:
    world = World(WITHOUT)
    world.broken_groups = frozenset([WIDGET.group])
    ending = await world.ended()
    assert (ending.done, ending.left, ending.retry) == (False, frozenset([WIDGET]), True)
    assert ending.reason is Reason.ApiUnavailable
    assert WIDGET.group in ending.message


async def test_a_kind_that_nobody_knows_is_asked_for_once_more_before_it_is_believed() -> None:
    world = World(WITHOUT)
    ending = await world.ended()
    assert (ending.done, ending.reason, world.discoveries) == (True, Reason.Pruned, 1)


async def test_a_kind_that_was_made_since_is_found() -> None:
    world = World(WITHOUT, WITH)
    ending = await world.ended()
    assert (ending.done, world.there, world.discoveries) == (True, False, 1)


async def test_a_kind_that_is_not_served_now_ends_no_deletion_and_has_discovery_asked() -> None:
    world = World(WITH, WITHOUT)
    world.answers = False
    ending = await world.ended()
    assert (ending.done, ending.left, ending.retry) == (False, frozenset([WIDGET]), True)
    assert ending.reason is Reason.KindUnknown
    ending = await world.ended()
    assert (ending.done, ending.reason) == (True, Reason.Pruned), "by then it is known to be gone"


async def test_a_discovery_without_crds_orphans_nothing() -> None:
    with pytest.raises(ApiError, match="CRDs"):
        await World({(WIDGET.group, WIDGET.kind)}).ended()


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("broken", [True, False], ids=["no answer", "not served now"])
async def test_a_commit_without_an_object_does_not_let_go_of_what_nobody_can_see(
    broken: bool, complete: bool
) -> None:
    world = World(WITHOUT if broken else WITH)
    world.broken_groups = frozenset([WIDGET.group] if broken else ())
    world.answers = False
    with pytest.raises(ApiError):
        await world.dropped(owner(), complete=complete)


@pytest.mark.parametrize("complete", [True, False])
async def test_a_commit_without_an_object_lets_go_of_what_has_no_kind_any_more(complete: bool) -> None:
    world = World(WITHOUT)
    result = await world.dropped(owner(), complete=complete)
    assert result.gone == {WIDGET}
    assert not result.kept
    assert complete or result.released == {WIDGET: "is gone"}
    assert world.discoveries == 1


@pytest.mark.parametrize(
    ("status", "text", "reason", "asked"),
    [
        (404, NO_KIND, Reason.KindUnknown, 1),
        (404, "404 page not found", Reason.KindUnknown, 1),
        (404, 'widgets.example.org "w" not found', Reason.Missing, 0),
        (404, 'namespaces "shop" not found', Reason.NamespaceMissing, 0),
        (503, "the server is down", Reason.ApiUnavailable, 0),
    ],
)
async def test_only_a_404_about_the_kind_says_that_the_kind_is_not_served(
    status: int, text: str, reason: Reason, asked: int
) -> None:
    world = World(WITH)
    problem = await unreadable(ApiError(status, "NotFound", text), WIDGET, "delete", world.discover)
    assert (problem.reason, world.discoveries) == (reason, asked)


@pytest.mark.parametrize(
    "error", [ApiError(503, "ServiceUnavailable", "down"), Problem(Reason.ApiUnavailable, "down")]
)
async def test_a_kind_that_is_not_served_is_told_though_discovery_does_not_answer(error: Exception) -> None:
    async def discover() -> None:
        raise error

    problem = await unreadable(ApiError(404, "NotFound", NO_KIND), WIDGET, "delete", discover)
    assert problem.reason is Reason.KindUnknown
