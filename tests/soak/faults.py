"""What goes wrong around the operator: each fault begins, and ends when told to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from tests.kit.servers.apirules import Action, Match, Request, cut, delay, reply
from tests.soak.stage import Stage

STATUS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}


def answer(code: int, reason: str, after: int | None = None) -> Action:
    """An error as the API server words it."""
    headers = {"Content-Type": "application/json", **({"Retry-After": str(after)} if after else {})}
    body = {**STATUS, "code": code, "reason": reason, "message": f"{reason} (fault of a test)"}
    return reply(code, json.dumps(body).encode(), headers)


def some(random: Random, share: float, match: Match) -> Match:
    """A share of the requests that match; never the lease, whose loss ends the process."""
    return lambda r: "/leases" not in r.path and match(r) and random.random() < share


def any_request(request: Request) -> bool:
    """Everything but watches."""
    return not request.is_watch


API_FAULTS: tuple[tuple[str, Match, Action], ...] = (
    ("429", any_request, answer(429, "TooManyRequests", 1)),
    ("500", any_request, answer(500, "InternalError")),
    ("503", any_request, answer(503, "ServiceUnavailable", 1)),
    ("409 of writes", lambda r: r.is_write, answer(409, "Conflict")),
    ("lost requests", any_request, cut()),
    ("lost answers", any_request, cut(after=True)),
    ("latency", any_request, delay(0.5)),
    ("410 of watches", lambda r: r.is_watch, answer(410, "Expired")),
)
GIT_FAULTS = ("git down", "git slow")


class Faults:
    """Draws faults; the last one ends when the next begins, or with `end`."""

    def __init__(self, stage: Stage, random: Random, repositories: Callable[[], list[str]]) -> None:
        self._stage, self._random, self._repositories = stage, random, repositories
        self._running: list[Iterator[None]] = []
        self.count: dict[str, int] = {}

    def begin(self) -> None:
        """End the last fault, and begin another."""
        self.end()
        kind = self._random.choice([self._of_api, self._of_git, self._cut_watches])
        fault = kind()
        next(fault)
        self._running.append(fault)

    def end(self) -> None:
        """All is well again."""
        for fault in self._running:
            for _ in fault:
                pass
        self._running.clear()

    def restart_apiserver(self) -> None:
        """Kill kube-apiserver and start it again."""
        self._note("restart of kube-apiserver")
        self._stage.cluster.restart_apiserver()

    def _note(self, name: str) -> None:
        self.count[name] = self.count.get(name, 0) + 1

    def _of_api(self) -> Iterator[None]:
        name, match, action = self._random.choice(API_FAULTS)
        self._note(name)
        share = self._random.choice([0.1, 0.3, 0.7])
        with self._stage.proxy.on(some(self._random, share, match), action):
            yield

    def _of_git(self) -> Iterator[None]:
        name = self._random.choice(GIT_FAULTS)
        self._note(name)
        with _git(self._stage, self._repositories(), slow=name == "git slow"):
            yield

    def _cut_watches(self) -> Iterator[None]:
        self._note("cut watches")
        self._stage.proxy.cut_open()
        yield


@contextmanager
def _git(stage: Stage, repositories: list[str], *, slow: bool) -> Iterator[None]:
    rules = [stage.git.rules(name) for name in repositories]
    for rule in rules:
        rule.delay, rule.status = (1.0, None) if slow else (0.0, 503)
    try:
        yield
    finally:
        for rule in rules:
            rule.delay, rule.status = 0.0, None
