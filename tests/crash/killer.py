"""Kills the operator at points of its own requests: the k-th since the last start, before or after the server hears it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tests.crash.killable import KillableOperator
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Action, Alter, CutError, Reply, Request

AGENT = "setpoint/"
AIM_SECONDS = 10.0


@dataclass(frozen=True)
class Point:
    """One moment: the k-th request (`after` the server did it, or before it hears of it), or a time.

    `seconds`: for what is no request, such as a fetch from Git or a render.
    """

    request: int = 0
    after: bool = False
    seconds: float = 0.0

    def __str__(self) -> str:
        if not self.request:
            return f"after {self.seconds:.3f} s"
        return f"{'after' if self.after else 'before'} request {self.request}"


def draw(random: Random, requests: int, seconds: float) -> Point:
    """Draw a moment of something that takes so many requests and seconds."""
    if random.random() < 0.2:
        return Point(seconds=random.uniform(0, seconds))
    return Point(random.randint(1, max(1, requests)), after=random.random() < 0.5)


class Killer:
    """Works through points, one for each life of the operator."""

    def __init__(self, proxy: ApiProxy, operator: KillableOperator) -> None:
        self._operator, self._guard = operator, threading.Condition()
        self._points: list[Point] = []
        self._aimed: list[Point] = []
        """Reached; the kill comes at once, or with the server's answer."""
        self._timer: threading.Timer | None = None
        self.seen, self.done = 0, list[str]()
        proxy.on(self._is_due, self._action())

    def arm(self, points: Sequence[Point]) -> None:
        """Kill at these points from now on; the requests of each life are counted anew."""
        with self._guard:
            self.seen, self._points, self._aimed, self.done = 0, list(points), [], []
            self._set_timer()

    def finish(self) -> None:
        """Kill at once for each point that was never reached: that is a moment of rest.

        A kill that waits for the server's answer comes first: all may look settled by what that answer tells.
        """
        with self._guard:
            left, self._points = self._points, []
            if self._timer:
                self._timer.cancel()
            self._guard.wait_for(lambda: not self._aimed, AIM_SECONDS)
            left, self._aimed = self._aimed + left, []  # an answer that nobody waits for any more never comes
        for point in left:
            self._kill(f"{point}: at rest, which came first")
            self._operator.reborn()

    def _set_timer(self) -> None:
        if self._points and not self._points[0].request:
            self._timer = threading.Timer(self._points[0].seconds, self._time_is_up, [self._points[0]])
            self._timer.start()

    def _time_is_up(self, point: Point) -> None:
        with self._guard:
            if not self._points or self._points[0] is not point:
                return
            self._next()
        self._strike(point, str(point))

    def _next(self) -> None:
        self._aimed.append(self._points.pop(0))
        self.seen = 0
        self._set_timer()

    def _strike(self, point: Point, what: str) -> None:
        with self._guard:
            if point in self._aimed:
                self._kill(what)
                self._aimed.remove(point)
                self._guard.notify_all()

    def _kill(self, what: str) -> None:
        self.done.append(what)
        self._operator.kill()

    def _is_due(self, request: Request) -> bool:
        if request.is_watch or not request.user_agent.startswith(AGENT):
            return False
        with self._guard:
            self.seen += 1
            return bool(self._points) and self._points[0].request == self.seen

    def _action(self) -> Action:
        async def action(request: Request) -> Reply | Alter | None:
            with self._guard:
                if not self._points:
                    return None
                point = self._points[0]
                self._next()

            def strike(_reply: Reply | None = None) -> Reply:
                self._strike(
                    point, f"{point} ({request.method} {request.path}{' dry run' * request.is_dry_run})"
                )
                raise CutError

            return strike if point.after else strike()

        return action
