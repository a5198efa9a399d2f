"""Git over HTTP and HTTPS: `git http-backend`, the real thing, behind a small server that tests can steer.

In: a folder of bare repositories; who may read which, what is redirected, what is slow. Out: a URL for each,
and a record of every request, credentials included, so that a test can prove where they did not go.
"""

from __future__ import annotations

import base64
import gzip
import re
import subprocess
import tempfile
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from tests.kit.cluster.pki import Pair
from tests.kit.servers.repo import ENVIRONMENT, Repo
from tests.kit.servers.threaded import LOOPBACK, Server


@dataclass
class Rules:
    """How one repository is served; tests change it at any time."""

    authorization: str | None = None  # the header that opens it; None: open to all
    redirect: str | None = None  # URL of a repository, absolute or a path, that takes its place
    delay: float = 0.0  # seconds before each answer
    status: int | None = None  # answered to everything
    lacks: tuple[str, ...] = ()  # capabilities that the server does not advertise

    def basic(self, username: str, password: str) -> None:
        """Ask for user name and password."""
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        self.authorization = f"Basic {token}"

    def bearer(self, token: str) -> None:
        """Ask for a bearer token."""
        self.authorization = f"Bearer {token}"


@dataclass(frozen=True)
class Request:
    """One request as it arrived, and the status that was answered."""

    method: str
    path: str
    query: str
    authorization: str | None
    user_agent: str | None
    status: int
    fetches: bool = False

    @property
    def lists_refs(self) -> bool:
        """Whether it is the first request of ls-remote, and of every fetch."""
        return self.path.endswith("/info/refs")


class GitHttp(Server):
    """Serves every bare repository below `root`; with `tls` over HTTPS; `host` is the address to listen on."""

    def __init__(self, root: Path, *, tls: Pair | None = None, host: str = LOOPBACK) -> None:
        super().__init__(_Handler, tls, host)
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.host = host
        self.requests: list[Request] = []
        self._rules: dict[str, Rules] = {}

    def repo(self, name: str, *, any_sha: bool = False) -> Repo:
        """Create a repository, served at `url(name)`."""
        return Repo(self.root / f"{name}.git", any_sha=any_sha)

    def url(self, name: str) -> str:
        """Where that repository is served; it need not exist."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}/{name}.git"

    def rules(self, name: str) -> Rules:
        """How that repository is served, to be changed."""
        return self._rules.setdefault(name, Rules())

    def ref_listings(self, name: str | None = None) -> int:
        """How often refs were asked for (ls-remote, or the begin of a fetch) and given."""
        return sum(r.lists_refs and r.status == 200 for r in self._of(name))

    def fetches(self, name: str | None = None) -> int:
        """How often objects were asked for, whatever the version of the protocol, and given."""
        return sum(r.fetches and r.status == 200 for r in self._of(name))

    def _of(self, name: str | None) -> list[Request]:
        return [r for r in self.requests if name is None or r.path.startswith(f"/{name}.git/")]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: GitHttp

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self._body())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing on stderr: `requests` is the log."""

    def _serve(self, body: bytes) -> None:
        url = urlsplit(self.path)
        name, inside = _split(url.path)
        rules = self.server.rules(name)
        if delay := rules.delay:
            self.server.stopping.wait(delay)
        if rules.status:
            self._answer(rules.status, {})
        elif rules.redirect:
            target = f"{rules.redirect}{inside}" + (f"?{url.query}" if url.query else "")
            self._answer(302, {"Location": target})
        elif rules.authorization not in (None, self.headers.get("Authorization")):
            scheme = (rules.authorization or "").split()[0]
            self._answer(401, {"WWW-Authenticate": f'{scheme} realm="test"'})
        else:
            self._run_backend(url.path, url.query, body)

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self._record(status)
        self.send_response(status)
        for key, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(key, value)
        self.end_headers()

    def _record(self, status: int, *, fetches: bool = False) -> None:
        url, headers = urlsplit(self.path), self.headers
        agent, authorization = headers.get("User-Agent"), headers.get("Authorization")
        request = Request(self.command, url.path, url.query, authorization, agent, status, fetches)
        self.server.requests.append(request)

    def _run_backend(self, path: str, query: str, body: bytes) -> None:
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
            stdin.write(body)
            stdin.seek(0)
            with subprocess.Popen(
                ["git", "http-backend"],
                env={**ENVIRONMENT, **self._cgi(path, query, len(body))},
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
            ) as backend:
                assert backend.stdout
                try:
                    self._relay(backend.stdout, fetches=_fetches(path, self._plain(body)))
                finally:
                    backend.kill()  # in case the client went away before the end

    def _cgi(self, path: str, query: str, length: int) -> dict[str, str]:
        return {
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": self.client_address[0],
        }

    def _relay(self, output: IO[bytes], *, fetches: bool) -> None:
        status, headers = 200, []
        while line := output.readline().decode().strip():
            key, _, value = line.partition(": ")
            if key == "Status":
                status = int(value.split()[0])
            else:
                headers.append((key, value))
        self._record(status, fetches=fetches)
        self.send_response(status)
        for key, value in [*headers, ("Transfer-Encoding", "chunked")]:
            self.send_header(key, value)
        self.end_headers()
        while chunk := self._without(output.read(65536)):
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def _without(self, chunk: bytes) -> bytes:
        """Rename the capabilities that this server is to lack; they stand in the first lines of a listing."""
        url = urlsplit(self.path)
        if url.path.endswith("/info/refs"):
            for name in self.server.rules(_split(url.path)[0]).lacks:
                chunk = chunk.replace(f" {name}".encode(), f" x{name[1:]}".encode())
        return chunk

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _plain(self, body: bytes) -> bytes:
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body


def _split(path: str) -> tuple[str, str]:
    """`/team/app.git/info/refs` -> `team/app`, `/info/refs`."""
    found = re.match(r"/(.+?)\.git(/.*|$)", path)
    return (found[1], found[2]) if found else (path.strip("/"), "")


def _fetches(path: str, body: bytes) -> bool:
    """Protocol 2 posts ref listings to the same path as fetches; 0 and 1 post nothing but fetches."""
    return path.endswith("/git-upload-pack") and (b"command=fetch" in body or b"command=" not in body)
