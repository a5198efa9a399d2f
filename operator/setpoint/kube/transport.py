"""HTTP to one API server: connection pool, credentials, deadlines and the few retries that are safe.

In: `Request`; out: `Response` of a 2xx answer, or `ApiError`. It knows no kind. One aiohttp session is
shared; watches do not count against the limit of requests in flight, which namespaces share.
"""

from __future__ import annotations

import asyncio
import io
import random
import socket
import ssl
import struct
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from setpoint.kube.errors import ApiError, error_of
from setpoint.kube.proof import Proof
from setpoint.kube.requests import Request, resource_of
from setpoint.runtime.fairness import Limits
from setpoint.runtime.slots import Slots

IN_FLIGHT = 64
CONNECT_SECONDS = 10.0
# The API server closes idle connections after 90 s; ours must be the shorter, or a request meets a closed one.
KEEP_ALIVE_SECONDS = 60.0
ATTEMPTS = 3
LONGEST_PAUSE = 5.0
# A server that asks for more patience than that is asked again nevertheless.
LONGEST_PATIENCE = 60.0
LARGE_BODY = 2**19
# Bookmarks come each minute: after this long without one, the connection of a watch is dead.
SILENCE_SECONDS = 90.0
# Bound tokens are rotated on disk at 80 % of their life, which is an hour or more.
TOKEN_SECONDS = 60.0


class Fence(Protocol):
    """Keeps a process that is no longer the leader from writing."""

    def __call__(self) -> None:
        """Raise `Fenced` when the leadership is over."""

    def remaining(self) -> float:
        """Return the seconds that the leadership lasts at least, unless renewed."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the API server is and how to be let in.

    `authorization(renew)` gives the header's value, or None; `login()` tells another client all of it.
    """

    server: str
    authorization: Callable[[bool], Awaitable[str | None]]
    login: Callable[[], Awaitable[dict[str, Any]]]
    tls: ssl.SSLContext | None = None
    server_hostname: str | None = None
    proxy: str | None = None


class Authorization:
    """The Authorization header; whatever gives it (a file, a plugin) is asked again once a minute, or to `renew`.

    While that gives nothing, as a file that is being replaced, the value before is used.
    """

    def __init__(self, load: Callable[[], Awaitable[str | None]], value: str | None) -> None:
        self._load, self._value = load, value
        self._due = time.monotonic() + TOKEN_SECONDS

    async def __call__(self, renew: bool) -> str | None:
        """Return the header's value; None if we are let in by other means."""
        if self._value is None:
            return None
        if renew or time.monotonic() >= self._due:
            self._due = time.monotonic() + TOKEN_SECONDS
            self._value = await self._load() or self._value
        return self._value.strip() if self._value else None


@dataclass(frozen=True, slots=True)
class Response:
    """A 2xx answer."""

    status: int
    body: bytes
    warnings: tuple[str, ...]


_USED: ContextVar[list[asyncio.Transport]] = ContextVar("connections that the present request was given")


class _Connector(aiohttp.TCPConnector):
    """Opens connections that can be abandoned for good, and records in `_USED` which one a request got."""

    async def connect(self, *arguments: Any, **named: Any) -> Connection:
        connection = await super().connect(*arguments, **named)
        if connection.transport is not None:
            _USED.get().append(connection.transport)
        return connection


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """Make a socket that forgets at its end what it has not delivered.

    By default the kernel would go on to deliver it for minutes after we, or even the process, gave up; to a server
    that was out of reach meanwhile, a write of a former leader would come long after its lease.
    """
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return made


def _give_up(connections: list[asyncio.Transport]) -> None:
    """End connections at once: closing politely would first deliver what is buffered, and wait for the peer."""
    for connection in connections:
        connection.abort()


class Transport:
    """A connection to one API server; `close()` it at the end. `count(verb, code)` is called for each answer."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        user_agent: str,
        timeout: float,
        silence: float,
        count: Callable[[str, int], None],
    ) -> None:
        self.endpoint = endpoint
        self._timeout, self._silence = timeout, silence
        self._count = count
        self._slots = Slots(Limits(IN_FLIGHT))
        self._patience: dict[str, tuple[float, ApiError]] = {}
        self._user_agent = user_agent
        self._proof = Proof()
        self._session = self._new_session()
        self._users: Counter[aiohttp.ClientSession] = Counter()
        self._ending: set[asyncio.Task[None]] = set()

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=_Connector(
                limit=0,
                socket_factory=_socket,
                ssl=self.endpoint.tls or True,
                keepalive_timeout=KEEP_ALIVE_SECONDS,
                # Older Pythons leak TLS connections whose peer never answers the shutdown; newer ones need no help.
                enable_cleanup_closed=sys.version_info < (3, 12, 7),
            ),
            # Compression costs both sides more CPU than the network inside a cluster saves.
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            # Not from the environment: aiohttp would look up the proxy and ~/.netrc for each request.
            trust_env=False,
        )

    def reconnect(self) -> None:
        """Open new connections for what is sent from now on: a silent one may be dead, and so may all others.

        What is under way goes on.
        """
        old, self._session = self._session, self._new_session()
        if not self._users[old]:
            self._retire(old)

    def _retire(self, session: aiohttp.ClientSession) -> None:
        del self._users[session]
        task = asyncio.create_task(session.close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    @asynccontextmanager
    async def _connections(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Return the connections to use; abandoned ones are closed when nobody uses them any more."""
        session = self._session
        self._users[session] += 1
        try:
            yield session
        except TimeoutError:
            if session is self._session:
                self.reconnect()
            raise
        finally:
            self._users[session] -= 1
            if session is not self._session and not self._users[session]:
                self._retire(session)

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(each.close() for each in {self._session, *self._users}), *self._ending)

    async def send(self, request: Request, fence: Fence | None = None) -> Response:
        """Send a request and read the whole answer; repeat it only where that is safe.

        `fence` is asked before each attempt, and neither side works on the request longer than it lasts.
        """
        renew = False
        self._be_patient(request)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self._once(request, fence, renew=renew)
            except ApiError as error:
                pause = _pause(error, request, attempt, unproved=self._proof.is_refused(error))
                if pause is None:
                    self._note_patience(request, error)
                    raise
                renew = error.status == 401
            await asyncio.sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")  # pragma: no cover

    def _be_patient(self, request: Request) -> None:
        """Refuse what the server asked not to be sent yet: it counts the requests of each user by themselves."""
        known = self._patience.get(request.user or "")
        if known is None:
            return
        until, error = known
        if (left := until - time.monotonic()) > 0:
            raise ApiError(error.status, error.reason, error.message, (), left)
        del self._patience[request.user or ""]

    def _note_patience(self, request: Request, error: ApiError) -> None:
        # Our own requests are few, and the lease is one of them.
        if request.user and error.status == 429 and error.retry_after:
            patience = min(error.retry_after, LONGEST_PATIENCE)
            self._patience[request.user] = time.monotonic() + patience, error

    async def _once(self, request: Request, fence: Fence | None, *, renew: bool) -> Response:
        async with self._slots.held(_tenant(request.user)):
            limit, target = self._timeout, request.target
            if fence is not None:
                fence()
                limit = min(limit, fence.remaining())
                # The server stops too: a request that it takes up late must not outlive the leadership.
                target += f"{'&' if '?' in target else '?'}timeout={limit:.3f}s"
            limits = aiohttp.ClientTimeout(total=limit, sock_connect=min(limit, CONNECT_SECONDS))
            async with self._open(request, target, limits, renew=renew) as response:
                body = await response.read()
                if response.status >= 300:
                    raise _error(response, body, request)
                return Response(response.status, body, tuple(response.headers.getall("Warning", ())))

    async def stream(self, request: Request, *, seconds: float) -> AsyncGenerator[bytes, None]:
        """Return the lines of a long answer; it ends when the server ends it, or when it was silent for too long."""
        limits = aiohttp.ClientTimeout(
            total=seconds + self._silence, sock_connect=CONNECT_SECONDS, sock_read=self._silence
        )
        async with self._open(request, request.target, limits, renew=False) as response:
            if response.status >= 300:
                raise _error(response, await response.read(), request)
            rest = b""
            try:
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in filter(None, lines):
                        yield line
            except TimeoutError:
                self.reconnect()
            except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError):
                return  # the caller resumes from the version it has seen
            finally:
                # Left half-way: a polite TLS shutdown would linger beyond the session's end.
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()

    @asynccontextmanager
    async def _open(
        self, request: Request, target: str, limits: aiohttp.ClientTimeout, *, renew: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = await self._headers(request, renew=renew)
        used: list[asyncio.Transport] = []
        _USED.set(used)
        try:
            async with (
                self._connections() as session,
                session.request(
                    request.method,
                    URL(self.endpoint.server + target, encoded=True),
                    data=_payload(request.body),
                    headers=headers,
                    timeout=limits,
                    proxy=self.endpoint.proxy,
                    server_hostname=self.endpoint.server_hostname,
                    allow_redirects=False,
                ) as response,
            ):
                self._count(request.verb, response.status)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _give_up(used)
            self._count(request.verb, 0)
            raise _unanswered(error, self.endpoint.server) from None
        except asyncio.CancelledError:
            _give_up(used)
            raise

    async def _headers(self, request: Request, *, renew: bool) -> dict[str, str]:
        headers = {"Accept": request.accept}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        if authorization := await self.endpoint.authorization(renew):
            headers["Authorization"] = authorization
        return headers | self._proof.headers(request.user)


def _tenant(user: str | None) -> str:
    """Return the namespace on whose behalf a request is sent; "" for our own."""
    return user.removeprefix("system:serviceaccount:").partition(":")[0] if user else ""


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    """Return a body in the form that aiohttp sends piecewise if it is large."""
    return io.BytesIO(body) if body is not None and len(body) > LARGE_BODY else body


def _pause(error: ApiError, request: Request, attempt: int, *, unproved: bool) -> float | None:
    """Return the seconds to wait before sending again, or None: the caller must decide."""
    if attempt >= ATTEMPTS:
        return None
    if unproved:
        return 0.0
    if error.status == 401 and attempt == 1:  # the token was rotated a moment ago
        return 0.0
    if error.reason == "NotSent":
        return random.uniform(0.05, 0.2) * 2.0**attempt  # noqa: S311 - jitter
    if error.reason == "Dropped" and request.repeatable:
        return 0.0
    if error.status == 429 and error.retry_after is not None and error.retry_after <= LONGEST_PAUSE:
        return float(error.retry_after * random.uniform(1.0, 1.5))  # noqa: S311 - jitter
    return None


def _error(response: aiohttp.ClientResponse, body: bytes, request: Request) -> ApiError:
    after = response.headers.get("Retry-After", "")
    return error_of(
        response.status,
        body,
        retry_after=float(after) if after.isdigit() else None,
        secret=request.secret,
        resource=resource_of(request.target),
    )


def _unanswered(error: BaseException, server: str) -> ApiError:
    """Distinguish what never arrived (`NotSent`), what broke on the way (`Dropped`), and what took too long."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return ApiError(0, "Untrusted", f"the TLS certificate of the API server at {server} is not accepted")
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
        return ApiError(0, "Timeout", f"the API server at {server} did not answer in time")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return ApiError(0, "NotSent", f"the API server at {server} cannot be reached")
    return ApiError(0, "Dropped", f"the connection to the API server at {server} broke")
