"""Sends HTTP requests to one Git server, and to no other (shell, in the child process).

TLS with the Secret's CA alone (as git's http.sslCAInfo), the Authorization header, redirects on the same origin
only, the environment's HTTP proxy. Each connection, after a redirect too, goes where `egress` lets it. Everything that goes wrong is a
`Problem`.
"""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from setpoint.api.hosts import HostRules
from setpoint.api.reasons import Problem, Reason
from setpoint.git.remotes import DEFAULT_PORTS, Remote, Repository
from setpoint.git.worker import egress
from setpoint.git.worker.egress import CONNECT_SECONDS
from setpoint.git.worker.errors import http_problem, redirected, unreachable, untrusted

MAX_REDIRECTS = 5
MAX_REDIRECT_BODY = 64 * 1024
URL_SAFE = ":/?#[]@!$&'()*+,;=~%"  # RFC 3986, 2.2, and percent


class Origin:
    """A repository's server. Used by several threads, each with a `Session` of its own; `close` ends them all."""

    def __init__(self, repository: Repository, proxy: str | None, rules: HostRules) -> None:
        """`proxy`: the URL of an HTTP proxy, or None. Problem(SecretInvalid) if the CA cannot be read."""
        self._rules = rules
        secure = repository.remote.scheme == "https"
        self.remote, self.proxy = repository.remote, _proxy(repository.remote, proxy)
        self.authorization = repository.credentials.authorization() if secure else None
        self.context = _context(repository.credentials.ca) if secure else None
        self.base = self.remote.url.rstrip("/")  # where redirects have led so far
        self._sockets: set[socket.socket] = set()
        self._closed = False
        self._lock = threading.Lock()

    def keep(self, each: socket.socket) -> None:
        """Register a connection for `close` to shut, so that no thread waits in it for ever."""
        with self._lock:
            self._sockets = {other for other in self._sockets if other.fileno() >= 0} | {each}
            if self._closed:
                shut(each)

    def close(self) -> None:
        """Shut all connections, those that open from now on too."""
        with self._lock:
            self._closed = True
            for each in self._sockets:
                shut(each)

    def connect(self) -> http.client.HTTPConnection:
        """Connect; OSError, HTTPException, or Problem(HostDenied)."""
        via = self.proxy
        place = (via.hostname or "", via.port or 80) if via else (self.remote.host, self.remote.port)
        if self.context is None:
            connection = http.client.HTTPConnection(*place, timeout=CONNECT_SECONDS)
        else:
            connection = http.client.HTTPSConnection(*place, timeout=CONNECT_SECONDS, context=self.context)
            if via:
                connection.set_tunnel(self.remote.host, self.remote.port, _proxy_headers(via))
        connection.auto_open = 0  # else it would resolve the name by itself once the server has hung up
        try:
            if via:
                egress.check_unresolved(self.remote, self._rules)
                connection.connect()
            else:
                connection.sock = self._connected()
        except BaseException:
            connection.close()
            raise
        connection.sock.settimeout(None)  # the parent's limit ends us; packs may take their time
        self.keep(connection.sock)
        return connection

    def _connected(self) -> socket.socket:
        """Connect to an address of the server that is allowed."""
        plain = egress.connect(self.remote, self._rules)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return (
                self.context.wrap_socket(plain, server_hostname=self.remote.host) if self.context else plain
            )
        except BaseException:
            plain.close()
            raise

    def problem(self, error: Exception) -> Problem:
        """Return the problem that the server could not be asked."""
        through = self._through if self.proxy else ""
        match error:
            case ssl.SSLCertVerificationError():
                return untrusted(self.remote, error.verify_message.rstrip(".").lower())
            case ssl.SSLError():
                why = f"TLS failed ({(error.reason or 'unknown').replace('_', ' ').lower()})"
            # RemoteDisconnected is both an HTTPException and a ConnectionError
            case http.client.IncompleteRead() | ConnectionResetError() | BrokenPipeError():
                why = "it closed the connection"
            case http.client.HTTPException() | ValueError():
                why = "it does not speak HTTP"
            case socket.gaierror():
                why = f"{through}its name cannot be resolved"
            case TimeoutError():
                why = f"{through}no connection in time"
            case _:
                why = f"{through}{str(getattr(error, 'strerror', None) or error).lower()}"
        return unreachable(self.remote, why)

    def refusal(self, status: int) -> Problem:
        """Return what a status means that is neither success nor redirect."""
        if status == 407 and self.proxy:
            return unreachable(self.remote, f"{self._through}407 proxy authentication required")
        return http_problem(status, self.remote, given=self.authorization is not None)

    @property
    def _through(self) -> str:
        return f"the proxy {self.proxy.hostname}:{self.proxy.port or 80}: " if self.proxy else ""


class Session:
    """One connection to the origin, kept alive from request to request."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """End the connection."""
        if self._connection:
            self._connection.close()

    def ask(
        self, method: str, suffix: str, headers: Mapping[str, str], body: bytes
    ) -> http.client.HTTPResponse:
        """Ask for `suffix` below the repository's URL, wherever that is on its origin: a response of 200, to be closed.

        Problem if it says no; OSError, HTTPException.
        """
        origin = self._origin
        for _ in range(MAX_REDIRECTS):
            answer = self._send(method, suffix, headers, body)
            if answer.status == 200:
                return answer
            with answer:
                location = answer.getheader("Location") if 300 <= answer.status < 400 else None
                if location is None:
                    raise origin.refusal(answer.status)
                origin.base = _followed(origin.remote, origin.base + suffix, location, suffix)
                if answer.length is not None and answer.length <= MAX_REDIRECT_BODY:
                    answer.read()
                else:
                    self.close()
        raise Problem(Reason.GitFailed, f"{origin.remote.url} redirects in a circle")

    def _send(
        self, method: str, suffix: str, headers: Mapping[str, str], body: bytes
    ) -> http.client.HTTPResponse:
        origin = self._origin
        kept = self._connection if self._connection and self._connection.sock else None
        connection = self._connection = kept or origin.connect()
        sent = dict(headers)
        if origin.authorization:
            sent["Authorization"] = origin.authorization
        target = origin.base + suffix
        if origin.proxy and origin.context is None:
            sent |= _proxy_headers(origin.proxy)
        else:
            target = target.removeprefix(f"{origin.remote.scheme}://{urlsplit(target).netloc}")
        try:
            connection.request(method, target, body or None, sent)
            return connection.getresponse()
        except (BrokenPipeError, ConnectionResetError):
            self.close()
            if kept is None:
                raise
            return self._send(method, suffix, headers, body)  # it had been kept alive for too long


def shut(each: socket.socket) -> None:
    """End a connection under whatever thread waits in it."""
    with suppress(OSError):
        # TLS's own shutdown would pull the session away from under the thread that reads.
        socket.socket.shutdown(each, socket.SHUT_RDWR)


def _followed(remote: Remote, asked: str, location: str, suffix: str) -> str:
    """Return the new base URL; Problem(RedirectRefused) if it is on another origin."""
    # Headers arrive as Latin-1; only ASCII goes out again (RFC 3986, 2.5).
    target = urljoin(asked, quote(location.encode("latin-1"), safe=URL_SAFE))
    try:
        parts = urlsplit(target)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        raise redirected(remote, "an invalid URL") from None
    if (parts.scheme, (parts.hostname or "").lower(), port) != remote.origin:
        raise redirected(remote, f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
    base, found, _ = target.rpartition(suffix.partition("?")[0])
    if not found:
        raise Problem(
            Reason.GitFailed, f"{remote.url} redirects to {parts.path}, which is not a Git repository"
        )
    return base


@lru_cache(maxsize=2)  # it reads all of the system's authorities; a child has one trust set
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
        raise unreachable(remote, "the environment's proxy is not an http:// URL")
    return parts


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}
