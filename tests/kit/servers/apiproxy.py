"""A reverse proxy in front of a kube-apiserver: it counts what a client asks for, and lets things go wrong.

In: a cluster, and rules (which requests, what happens to them). Out: a URL, a kubeconfig, and `requests`, in the
order of arrival. It runs in a thread with an event loop of its own, so plain tests and asyncio ones can use it.
TLS ends here, and client certificates with it: log in with a token.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import ssl
import sys
import threading
import time
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from tests.kit.cluster import kubeconfig
from tests.kit.cluster.base import Cluster
from tests.kit.cluster.pki import Authority
from tests.kit.servers.apirules import Action, CutError, Hold, Match, Reply, Request, Rule
from yarl import URL

T = TypeVar("T")
CHUNK = 1 << 16
LARGEST_BODY = 1 << 26
WAIT_SECONDS = 120
TURNS_TO_CLOSE = 5
_NUMBERS = itertools.count()
# RFC 9110 section 7.6.1, and what describes one connection. Bodies are not compressed, so that rules can read them.
HOP_BY_HOP = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "accept-encoding",
        "content-length",
    ]
)


class ApiProxy:
    """See the module; a context manager, or `start` and `stop`. Whoever trusts the cluster trusts it, where that can be."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._folder = cluster.folder / f"apiproxy-{next(_NUMBERS)}"
        self._endpoint = kubeconfig.endpoint(cluster.kubeconfig)
        self._requests: dict[int, Request] = {}
        self._open: dict[int, web.Request] = {}
        self._streams: dict[int, web.StreamResponse] = {}
        self._muted: set[int] = set()
        self._connections: WeakKeyDictionary[asyncio.BaseTransport, int] = WeakKeyDictionary()
        self._last_connection = 0
        self._rules: list[Rule] = []
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="apiproxy", daemon=True)

    def start(self) -> Self:
        """Listen on a free port."""
        self._folder.mkdir(exist_ok=True)
        authority = self._cluster.authority or Authority(self._folder)
        pair = authority.server(self._folder.name, self._cluster.host)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(pair.certificate, pair.key)
        self._ca = authority.certificate.read_bytes()
        self._thread.start()
        self._run(self._listen(tls))
        return self

    def stop(self) -> None:
        """End all connections and the thread."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def requests(self) -> list[Request]:
        """Everything so far, in the order of arrival."""
        with self._changed:
            return list(self._requests.values())

    def select(self, match: Match) -> list[Request]:
        """The requests that match."""
        return [each for each in self.requests if match(each)]

    @property
    def reads(self) -> list[Request]:
        """Gets and lists."""
        return self.select(lambda each: each.is_read)

    @property
    def writes(self) -> list[Request]:
        """Requests that may have changed something; no dry runs."""
        return self.select(lambda each: each.is_write)

    @property
    def watches(self) -> list[Request]:
        """Watches, open or ended."""
        return self.select(lambda each: each.is_watch)

    def clear(self) -> None:
        """Forget all requests that have ended; those that are open stay.

        Whoever asked may have its whole answer before the proxy has noted that the request ended: this waits for that.
        """
        with self._changed:
            self._changed.wait_for(lambda: not any(map(self._ends_soon, self._open)), WAIT_SECONDS)
            self._requests = {number: self._requests[number] for number in self._open}

    def _ends_soon(self, number: int) -> bool:
        request = self._requests[number]
        return request.status is not None and not request.is_watch and number not in self._muted

    def wait_for(self, match: Match, count: int = 1, seconds: float = WAIT_SECONDS) -> list[Request]:
        """The matching requests, as soon as there are `count` of them. Raises TimeoutError."""
        with self._changed:
            if self._changed.wait_for(lambda: sum(map(match, self._requests.values())) >= count, seconds):
                return [each for each in self._requests.values() if match(each)]
        raise TimeoutError(f"{count} matching requests expected, seen: {self.requests}")

    def on(self, match: Match, action: Action, times: int | None = None) -> Rule:
        """Do that to the requests that match (the first `times` of them). The oldest matching rule wins."""
        rule = Rule(self._rules, match, action, times)
        self._rules.append(rule)
        return rule

    def cut_open(self, match: Match = lambda each: each.is_watch) -> None:
        """Break the connections of matching requests that are open; by default all watches."""
        self._run(self._abort(match))

    def mute_open(self, match: Match = lambda each: each.is_watch) -> list[Request]:
        """Pass nothing on any more in the matching streams that are open, which stay open; returns them."""
        with self._changed:
            numbers = [number for number in self._streams if match(self._requests[number])]
            self._muted.update(numbers)
            return [self._requests[number] for number in numbers]

    def half_open(self) -> Rule:
        """Leave all connections of now without an answer, as when the other side is gone and nobody said so.

        Their streams stay silent for good, their requests as long as the rule holds; new connections work.
        """
        last = self._last_connection
        self.mute_open(lambda each: each.connection <= last)
        return self.on(lambda each: each.connection <= last, Hold())

    def inject(self, data: bytes, match: Match = lambda each: each.is_watch) -> int:
        """Write into the matching streams that are open, as if the server had; tells into how many."""
        return self._run(self._write(data, match))

    def kubeconfig(self, token: str | None = None, token_file: Path | None = None) -> Path:
        """A kubeconfig that leads here; without a token or its file, the administrator's."""
        path = self._folder / f"{next(_NUMBERS)}.kubeconfig"
        login = (
            {"tokenFile": str(token_file)} if token_file else {"token": token or self._cluster.admin_token()}
        )
        return kubeconfig.write(path, kubeconfig.Endpoint(self.url, self._ca), login)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_SECONDS)

    async def _listen(self, tls: ssl.SSLContext) -> None:
        authority = self._endpoint.ca.decode() if self._endpoint.ca else None
        upstream = ssl.create_default_context(cadata=authority)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                ssl=upstream,
                # See transport.py: what is left half-way would wait for the server's goodbye, longer than this loop runs.
                enable_cleanup_closed=sys.version_info < (3, 12, 7),
            ),
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"Accept-Encoding": "identity"},  # else aiohttp asks for gzip, which no client here did
            skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
            auto_decompress=False,
        )
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # A client that goes away ends its watch on the server, too.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._cluster.host, 0, ssl_context=tls)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        self.url = f"https://{self._cluster.host}:{self.port}"

    async def _close(self) -> None:
        await self._abort(lambda _each: True)
        await self._runner.cleanup()
        await self._session.close()
        for _ in range(TURNS_TO_CLOSE):
            await asyncio.sleep(0)

    async def _abort(self, match: Match) -> None:
        for number, incoming in list(self._open.items()):
            if match(self._requests[number]) and incoming.transport is not None:
                incoming.transport.abort()

    async def _write(self, data: bytes, match: Match) -> int:
        streams = [each for number, each in self._streams.items() if match(self._requests[number])]
        for stream in streams:
            await stream.write(data)
        return len(streams)

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        number = next(_NUMBERS)
        try:
            return await self._answer(incoming, number, self._arrive(incoming, number))
        except (CutError, aiohttp.ClientError):  # an API server that is gone does not say 502 either
            if incoming.transport is not None:
                incoming.transport.abort()
            return web.Response(status=502)
        finally:
            self._update(number, ended=True)

    async def _answer(self, incoming: web.Request, number: int, record: Request) -> web.StreamResponse:
        change = None
        if rule := next((each for each in list(self._rules) if each.take(record)), None):
            outcome = await rule.action(record)
            if isinstance(outcome, Reply):
                return self._complete(number, outcome)
            change = outcome
        async with self._session.request(
            incoming.method,
            URL(self._endpoint.server.rstrip("/") + incoming.raw_path, encoded=True),
            headers=_forwarded(incoming.headers),
            # A stream, since aiohttp warns of large bodies as bytes, and warnings are errors.
            data=io.BytesIO(await incoming.read()) if incoming.body_exists else None,
            allow_redirects=False,
        ) as answer:
            headers = _forwarded(answer.headers)
            if change:
                changed = change(Reply(answer.status, await answer.read(), headers))
                return self._complete(number, changed if isinstance(changed, Reply) else await changed)
            return await self._stream(incoming, number, answer, headers)

    def _complete(self, number: int, answer: Reply) -> web.Response:
        self._update(number, status=answer.status)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def _stream(
        self,
        incoming: web.Request,
        number: int,
        answer: aiohttp.ClientResponse,
        headers: CIMultiDict[str],
    ) -> web.StreamResponse:
        outgoing = web.StreamResponse(status=answer.status, headers=headers)
        if answer.content_length is not None:
            outgoing.content_length = answer.content_length
        self._update(number, status=answer.status)
        await outgoing.prepare(incoming)
        with self._changed:
            self._streams[number] = outgoing
        try:
            async for chunk in answer.content.iter_any():
                if number not in self._muted:
                    await outgoing.write(chunk)
            if number in self._muted:
                await asyncio.Event().wait()  # until the client leaves
            await outgoing.write_eof()
        finally:
            with self._changed:
                del self._streams[number]
                self._muted.discard(number)
        return outgoing

    def _arrive(self, incoming: web.Request, number: int) -> Request:
        path, _, query = incoming.raw_path.partition("?")
        names = ("User-Agent", "Content-Type", "Impersonate-User")
        agent, content, user = (incoming.headers.get(name, "") for name in names)
        connection = self._numbered(incoming.transport)
        record = Request(incoming.method, path, query, agent, content, user, time.monotonic(), connection)
        with self._changed:
            self._requests[number] = record
            self._open[number] = incoming
            self._changed.notify_all()
        return record

    def _numbered(self, transport: asyncio.Transport | None) -> int:
        if transport is None:
            return 0
        if transport not in self._connections:
            self._last_connection += 1
            self._connections[transport] = self._last_connection
        return self._connections[transport]

    def _update(self, number: int, **changes: Any) -> None:
        with self._changed:
            self._requests[number] = replace(self._requests[number], **changes)
            if self._requests[number].ended:
                del self._open[number]
            self._changed.notify_all()


def _forwarded(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Without what belongs to one connection; repeated headers (Impersonate-Group) stay repeated."""
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP)
