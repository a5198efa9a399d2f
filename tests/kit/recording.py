"""A worker that notes what it is asked, around the real one."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeVar

from setpoint.wall.messages import (
    Build,
    Built,
    Check,
    Checked,
    Compare,
    Compared,
    Drop,
    Failed,
    Fetch,
    Fetched,
    Lost,
    Objects,
    Placed,
    Places,
    Same,
)
from setpoint.wall.protocol import Worker

Answer = TypeVar("Answer")


class Recording:
    """Passes everything on, and keeps requests and answers."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.requests: list[Any] = []
        self.answers: list[Any] = []

    def asked(self) -> Counter[str]:
        """Return what was asked since the last call, but for what nobody waits for."""
        kinds = (type(r).__name__ for r in self.requests if not isinstance(r, Drop))
        found = Counter(name.lower() for name in kinds)
        self.requests.clear()
        return found

    async def check(self, request: Check) -> Checked | Failed:
        self.requests.append(request)
        return self._answered(await self._worker.check(request))

    async def fetch(self, request: Fetch) -> Fetched | Lost | Failed:
        self.requests.append(request)
        return self._answered(await self._worker.fetch(request))

    async def compare(self, request: Compare) -> Compared:
        self.requests.append(request)
        return self._answered(await self._worker.compare(request))

    async def build(self, request: Build) -> Built | Same | Lost | Failed:
        self.requests.append(request)
        return self._answered(await self._worker.build(request))

    async def objects(self, request: Objects) -> Built | Lost | Failed:
        self.requests.append(request)
        return self._answered(await self._worker.objects(request))

    async def places(self, request: Places) -> Placed:
        self.requests.append(request)
        return self._answered(await self._worker.places(request))

    def drop(self, request: Drop) -> None:
        self.requests.append(request)
        self._worker.drop(request)

    def _answered(self, answer: Answer) -> Answer:
        self.answers.append(answer)
        return answer
