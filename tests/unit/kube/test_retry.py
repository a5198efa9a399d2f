"""What cannot be done without is asked for until it comes, or until the operator is to stop."""

from __future__ import annotations

import asyncio

import pytest

from setpoint.kube import retry
from setpoint.kube.errors import ApiError
from setpoint.kube.retry import until_stopped

AWAY = ApiError(0, "NotSent", "the API server cannot be reached")


class Server:
    """Answers after so many failures."""

    def __init__(self, *failures: ApiError) -> None:
        self._failures = list(failures)

    async def __call__(self) -> str:
        if self._failures:
            raise self._failures.pop(0)
        return "answer"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)


async def test_it_is_asked_for_until_it_comes() -> None:
    unwell = ApiError(503, "ServiceUnavailable", "etcd is away")
    assert await until_stopped(Server(AWAY, unwell, AWAY), "something", asyncio.Event()) == "answer"


async def test_a_server_that_has_just_started_knows_no_rights_yet() -> None:
    forbidden = ApiError(403, "Forbidden", "User cannot get path /api")
    assert await until_stopped(Server(AWAY, forbidden), "something", asyncio.Event()) == "answer"


async def test_what_cannot_help_is_not_tried_again() -> None:
    with pytest.raises(ApiError) as caught:
        await until_stopped(Server(ApiError(400, "BadRequest", "no")), "something", asyncio.Event())
    assert caught.value.status == 400


async def test_who_is_to_stop_does_not_wait() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, stop.set)
    assert await until_stopped(Server(*[AWAY] * 10_000), "something", stop) is None
