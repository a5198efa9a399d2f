"""Speaks HTTPS for libgit2: a relay on loopback that leads to one repository only (shell, in the child process).

libgit2 by itself sends credentials after a redirect to another *port* of the same host, whatever
`http.followRedirects` says; behind a CONNECT proxy it hangs for ever on a certificate it rejects; and its trust
belongs to the whole process. So it is given `http://127.0.0.1:<port>/<secret>`, and here the standard library does
what matters: TLS with the Secret's CA alone (as git's http.sslCAInfo), the Authorization header, redirects on the
same origin only, and the environment's proxy with NO_PROXY as Go programs read it. libgit2 never sees a credential.

The secret path keeps other local processes out; the relay lives as long as one operation.
"""

from __future__ import annotations

import base64
import http.client
import secrets
import socket
import ssl
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from setpoint.git_errors import http_problem, redirected, unreachable, untrusted
from setpoint.reasons import Problem, Reason
from setpoint.remotes import Remote, Repository

CONNECT_SECONDS = 20.0
CHUNK = 256 * 1024
MAX_REDIRECTS = 5
LISTING = "/info/refs?service=git-upload-pack"
FETCH = "/git-upload-pack"
URL_SAFE = ":/?#[]@!$&'()*+,;=~%"


class Relay:
    """Listens while entered; `problem` says why it could not do what libgit2 asked for."""

    def __init__(self, repository: Repository, proxy: str | None) -> None:
        """`proxy`: the URL of an HTTP proxy, or None. Problem(SecretInvalid) if the CA cannot be read."""
        self.remote, self.proxy = repository.remote, _proxy(repository.remote, proxy)
        self.authorization = repository.credentials.authorization() if self.remote.scheme == "https" else None
        self.context = _context(repository.credentials.ca) if self.remote.scheme == "https" else None
        self.base = self.remote.url.rstrip("/")
        self.secret = secrets.token_urlsafe(24)
        self.problem: Problem | None = None
        self._sockets: set[socket.socket] = set()
        self._closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Start to listen."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        _shut(self._listener)  # wakes the thread that accepts
        self._listener.close()
        with self._lock:
            self._closed = True
            for each in self._sockets:
                _shut(each)

    @property
    def url(self) -> str:
        """What to give to libgit2."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/{self.secret}"

    def connect(self) -> http.client.HTTPConnection:
        """Connect to the origin."""
        connection = self._connection()
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        connection.sock.settimeout(None)  # the parent's limit ends us; packs may take their time
        self.keep(connection.sock)
        return connection

    def keep(self, each: socket.socket) -> None:
        """Shut a connection when the relay closes, so that no thread waits in it for ever."""
        with self._lock:
            self._sockets = {other for other in self._sockets if other.fileno() >= 0} | {each}
            if self._closed:
                _shut(each)

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self.remote.host, self.remote.port
        via = self.proxy
        place = (via.hostname or "", via.port or 80) if via else (host, port)
        if self.context is None:
            return http.client.HTTPConnection(*place, timeout=CONNECT_SECONDS)
        connection = http.client.HTTPSConnection(*place, timeout=CONNECT_SECONDS, context=self.context)
        if via:
            connection.set_tunnel(host, port, _proxy_headers(via))
        return connection

    def _accept(self) -> None:
        while True:
            try:
                client, address = self._listener.accept()
            except OSError:
                return
            self.keep(client)
            threading.Thread(target=self._serve, args=(client, address), daemon=True).start()

    def _serve(self, client: socket.socket, address: object) -> None:
        with client, suppress(OSError):  # libgit2 may hang up at any time
            _Handler(client, address, self)


class _Handler(BaseHTTPRequestHandler):
    """One connection of libgit2's, and one to the origin, both kept alive."""

    protocol_version = "HTTP/1.1"

    def __init__(self, client: socket.socket, address: object, relay: Relay) -> None:
        self.relay = relay
        self.origin: http.client.HTTPConnection | None = None
        try:
            super().__init__(client, address, relay)  # type: ignore[arg-type]  # it only keeps the server
        finally:
            if self.origin:
                self.origin.close()

    def do_GET(self) -> None:
        self._relay(LISTING, b"")

    def do_POST(self) -> None:
        self._relay(FETCH, self._body())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: there is no log here."""

    def _relay(self, suffix: str, body: bytes) -> None:
        self.close_connection = True  # unless all goes well
        if self.path != f"/{self.relay.secret}{suffix}":
            self.send_error(403)
            return
        try:
            with self._ask(suffix, body) as answer:
                self._pass_on(answer)
        except Problem as problem:
            self._fail(problem)
        except (OSError, http.client.HTTPException) as error:
            self._fail(problem_of(error, self.relay.remote, self.relay.proxy))

    def _ask(self, suffix: str, body: bytes) -> http.client.HTTPResponse:
        """Ask the origin, following it as long as it stays itself; Problem if it says no."""
        for _ in range(MAX_REDIRECTS):
            answer = self._send(suffix, body)
            if answer.status == 200:
                return answer
            with answer:
                location = answer.getheader("Location") if 300 <= answer.status < 400 else None
                if location is None:
                    raise self._refusal(answer.status)
                self.relay.base = _followed(self.relay.remote, self.relay.base + suffix, location, suffix)
                if answer.length is not None and answer.length <= CHUNK:
                    answer.read()
                elif self.origin:
                    self.origin.close()
        raise Problem(Reason.GitFailed, f"{self.relay.remote.url} redirects in a circle")

    def _refusal(self, status: int) -> Problem:
        relay = self.relay
        if status == 407 and relay.proxy:
            return unreachable(relay.remote, f"{_through(relay.proxy)}407 proxy authentication required")
        return http_problem(status, relay.remote, given=relay.authorization is not None)

    def _send(self, suffix: str, body: bytes) -> http.client.HTTPResponse:
        relay, url = self.relay, urlsplit(self.relay.base + suffix)
        fresh = self.origin is None or self.origin.sock is None
        if self.origin is None or self.origin.sock is None:
            self.origin = relay.connect()
        target = f"{url.path}?{url.query}" if url.query else url.path
        headers = {
            "User-Agent": self.headers.get("User-Agent", "git/2.0"),
            "Accept": self.headers.get("Accept", "*/*"),
        }
        if body:
            headers["Content-Type"] = self.headers.get("Content-Type", "")
        if relay.authorization:
            headers["Authorization"] = relay.authorization
        if relay.proxy and relay.context is None:
            target = relay.base + suffix
            headers |= _proxy_headers(relay.proxy)
        try:
            self.origin.request(self.command, target, body or None, headers)
            return self.origin.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self.origin.close()
            self.origin = None
            if fresh:
                raise
            return self._send(suffix, body)  # it had been kept alive for too long

    def _pass_on(self, answer: http.client.HTTPResponse) -> None:
        self.send_response_only(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type") or "")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while data := answer.read1(CHUNK):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        if answer.length:
            raise http.client.IncompleteRead(b"", answer.length)
        self.wfile.write(b"0\r\n\r\n")
        self.close_connection = False

    def _fail(self, problem: Problem) -> None:
        self.relay.problem = self.relay.problem or problem
        with suppress(OSError):
            self.send_response_only(502)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _body(self) -> bytes:
        """Read what is posted: what we want and have, some kilobytes."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)


def _shut(each: socket.socket) -> None:
    with suppress(OSError):
        # TLS's own shutdown would pull the session away from under the thread that reads.
        socket.socket.shutdown(each, socket.SHUT_RDWR)


def problem_of(error: Exception, remote: Remote, proxy: SplitResult | None) -> Problem:
    """Say why the origin could not be asked."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return untrusted(remote, error.verify_message.rstrip(".").lower())
    if isinstance(error, ssl.SSLError):
        return unreachable(remote, f"TLS failed ({(error.reason or 'unknown').replace('_', ' ').lower()})")
    if isinstance(error, http.client.HTTPException) and not isinstance(
        error, http.client.IncompleteRead | ConnectionError
    ):
        return unreachable(remote, "it does not speak HTTP")
    if isinstance(
        error,
        http.client.IncompleteRead | ConnectionResetError | http.client.RemoteDisconnected | BrokenPipeError,
    ):
        return unreachable(remote, "it closed the connection")
    through = _through(proxy) if proxy else ""
    if isinstance(error, socket.gaierror):
        return unreachable(remote, f"{through}its name cannot be resolved")
    if isinstance(error, TimeoutError):
        return unreachable(remote, f"{through}no connection in time")
    words = str(getattr(error, "strerror", None) or error).lower()
    return unreachable(remote, f"{through}{words}")


def _through(proxy: SplitResult) -> str:
    return f"the proxy {proxy.hostname}:{proxy.port or 80}: "


def _followed(remote: Remote, asked: str, location: str, suffix: str) -> str:
    """Give the new base URL; Problem(RedirectRefused) if it is on another origin."""
    # Headers arrive as Latin-1; only ASCII goes out again (RFC 3986, 2.5).
    target = urljoin(asked, quote(location.encode("latin-1"), safe=URL_SAFE))
    try:
        parts = urlsplit(target)
        origin = (
            parts.scheme,
            (parts.hostname or "").lower(),
            parts.port or (443 if parts.scheme == "https" else 80),
        )
    except ValueError:
        raise redirected(remote, "an invalid URL") from None
    if origin != remote.origin:
        raise redirected(remote, f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
    base, found, _ = target.rpartition(suffix.partition("?")[0])
    if not found:
        raise Problem(Reason.GitFailed, f"{remote.url} redirects to {parts.path}, which is no Git repository")
    return base


def _context(ca: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=ca or None)
    except ssl.SSLError:
        raise Problem(
            Reason.SecretInvalid, "ca.crt of the Secret holds no certificate that can be read"
        ) from None
    # Python 3.13 turns this on; private authorities often lack what it asks for, and git does not ask.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _proxy(remote: Remote, proxy: str | None) -> SplitResult | None:
    if proxy is None:
        return None
    parts = urlsplit(proxy)
    if parts.scheme != "http" or not parts.hostname:
        raise unreachable(remote, "the environment's proxy is no http:// URL")
    return parts


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}
