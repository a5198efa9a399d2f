"""What the API server's refusal of a status means: the object is gone, or it only cannot be told now."""

from __future__ import annotations

from typing import Any, cast

import pytest

from setpoint.api.reasons import Problem, Reason
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.identity import ObjectId
from setpoint.objects.kinds import Kind
from setpoint.store.index import Store
from setpoint.store.status_writer import Conflict, Deleted, StatusWriter

SOURCE = ObjectId("setpoint.dev", "Source", "team", "src")
BODY: dict[str, Any] = {"metadata": {"namespace": "team", "name": "src", "resourceVersion": "7"}}


class Refusing:
    """An API server that refuses each patch."""

    def __init__(self, error: ApiError) -> None:
        self._error = error

    def kind(self, _version: str, name: str) -> Kind:
        return Kind("setpoint.dev", "v1alpha1", name, f"{name.lower()}s", True, frozenset())

    async def patch(self, *_: Any, **__: Any) -> dict[str, Any]:
        raise self._error


async def refused(error: ApiError) -> None:
    await StatusWriter(cast("Cluster", Refusing(error)), Store()).write(SOURCE, BODY, {"a": 1})


async def test_an_object_that_is_not_found_is_gone() -> None:
    with pytest.raises(Deleted):
        await refused(ApiError(404, "NotFound", 'sources.setpoint.dev "src" not found'))


@pytest.mark.parametrize("text", ["404 page not found", "the server could not find the requested resource"])
async def test_a_kind_that_is_not_found_says_nothing_about_the_object(text: str) -> None:
    with pytest.raises(Problem) as caught:
        await refused(ApiError(404, "NotFound", text))
    assert caught.value.reason is Reason.ApiUnavailable
    assert caught.value.transient


@pytest.mark.parametrize(
    "error",
    [
        ApiError(409, "Conflict", "the object has been modified"),
        ApiError(422, "Invalid", "the server rejected our request due to an error in our request"),
    ],
)
async def test_an_object_that_changed_meanwhile_is_no_trouble(error: ApiError) -> None:
    with pytest.raises(Conflict):
        await refused(error)


async def test_a_status_that_the_server_does_not_take_is_told_with_its_words() -> None:
    with pytest.raises(
        Problem, match=r"cannot be written now: .*status\.conditions\.reason: Invalid value"
    ) as caught:
        await refused(ApiError(422, "Invalid", "status.conditions.reason: Invalid value"))
    assert caught.value.transient
