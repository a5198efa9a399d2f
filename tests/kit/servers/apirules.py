"""Rules of the API server proxy: what a request is, which ones are meant, and what happens to those.

proxy.on(lambda request: request.is_write, cut(after=True), times=1)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Request:
    """One request as it arrived; `status` is None until the server answered, or if it never did.

    `connection` numbers the client's connections, in the order of their first request.
    """

    method: str
    path: str
    query: str
    user_agent: str
    content_type: str
    impersonate_user: str
    started: float
    connection: int = 0
    status: int | None = None
    ended: bool = False

    @property
    def is_watch(self) -> bool:
        """Whether it stays open for events."""
        return parse_qs(self.query).get("watch", [""])[0] in {"1", "true"}

    @property
    def is_dry_run(self) -> bool:
        """Whether it changes nothing although its method could."""
        return "dryRun" in parse_qs(self.query)

    @property
    def is_write(self) -> bool:
        """Whether it may change something; a dry run does not."""
        return self.method not in {"GET", "HEAD", "OPTIONS"} and not self.is_dry_run

    @property
    def is_read(self) -> bool:
        """A get or a list."""
        return self.method in {"GET", "HEAD"} and not self.is_watch


@dataclass(frozen=True)
class Reply:
    """A complete answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


class CutError(Exception):
    """Raised by an action: the connection ends without an answer."""


Match = Callable[[Request], bool]
Alter = Callable[[Reply], Reply | Awaitable[Reply]]
# What happens to a request: nothing (None), an answer that the server never hears of, or a change of its answer.
Action = Callable[[Request], Awaitable[Reply | Alter | None]]


def delay(seconds: float) -> Action:
    """The request reaches the server later."""

    async def action(_request: Request) -> None:
        await asyncio.sleep(seconds)

    return action


def reply(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Action:
    """The request never reaches the server; this is the answer."""
    answer = Reply(status, body) if headers is None else Reply(status, body, headers)

    async def action(_request: Request) -> Reply:
        return answer

    return action


def cut(*, after: bool = False) -> Action:
    """The connection breaks before the server hears of the request, or after it did what was asked."""

    def lose(_reply: Reply) -> Reply:
        raise CutError

    async def action(_request: Request) -> Alter:
        if after:
            return lose
        raise CutError

    return action


def alter(change: Alter) -> Action:
    """The server's answer is changed; it is complete, so this is not for watches."""

    async def action(_request: Request) -> Alter:
        return change

    return action


class Hold:
    """An action that keeps requests, or with `after` answers, until `release`; `arrived` tells the test that there is one."""

    def __init__(self, *, after: bool = False) -> None:
        self._after = after
        self.arrived = threading.Event()
        self._released = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, _request: Request) -> Alter | None:
        """Wait, now or once there is an answer."""
        if self._after:
            return self._keep
        await self._wait()
        return None

    async def _keep(self, answer: Reply) -> Reply:
        await self._wait()
        return answer

    async def _wait(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.arrived.set()
        await self._released.wait()

    def release(self) -> None:
        """Let all go on, those that come later as well."""
        if self._loop is None:
            self._released.set()
        else:
            self._loop.call_soon_threadsafe(self._released.set)


class Rule:
    """An action for matching requests, until removed or, with `times`, used up; `hits` counts them."""

    def __init__(self, rules: list[Rule], match: Match, action: Action, times: int | None) -> None:
        self.match, self.action, self._times, self._rules = match, action, times, rules
        self.hits = 0

    def take(self, request: Request) -> bool:
        """Whether the rule applies to the request, which is then counted."""
        if (self._times is not None and self.hits >= self._times) or not self.match(request):
            return False
        self.hits += 1
        return True

    def remove(self) -> None:
        """End the rule; harmless if it has ended."""
        if self in self._rules:
            self._rules.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
