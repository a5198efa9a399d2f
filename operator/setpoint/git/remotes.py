"""URLs of repositories, and which servers may see their credentials (pure).

`Repository` is what the Git shell works with: a `Remote` and the `Credentials` that belong to its origin.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, replace
from urllib.parse import SplitResult, quote, unquote, urlsplit

from setpoint.api.reasons import Problem, Reason
from setpoint.git.credentials import NO_CREDENTIALS, Credentials

DEFAULT_PORTS = {"https": 443, "http": 80, "ssh": 22, "file": 0}
DEFAULT_SSH_USER = "git"
_SCP = re.compile(r"(?:(?P<user>[^@/:\s]+)@)?(?P<host>\[[^\]\s]+\]|[^@/:\s]+):(?P<path>[^\s:].*)")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|[0-9A-Fa-f:.]+")
_PATH_SAFE = "/%:@!$&'()*+,;=~"
_UNFIT = re.compile(r"[\x00-\x20\x7f\\]")
_UNFIT_RELATIVE = re.compile(r"[\x00-\x1f\x7f\\?#]")
_LONGEST = 2048  # as spec.url; what is decoded again and again must not be large
# A decoded path with such a segment. Servers may cut off parameters, a query, blanks and what follows a zero byte.
_DOTS = re.compile(r"(?:^|[/\\])\.{1,2}(?:[\x00-\x20;?#][^/\\]*)?(?:[/\\]|\Z)")
MAX_DECODED = 8  # times that a path may be percent-encoded over


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository's address: `scheme` is https, http, ssh or file, `host` lower case, `url` as Git takes it.

    `url` never holds a password; it names the user for ssh only. `path` is relative for `user@host:path`.
    """

    scheme: str
    host: str
    port: int
    path: str
    url: str
    user: str = ""

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: the only place that credentials go to."""
        return self.scheme, self.host, self.port

    @property
    def place(self) -> str:
        """The host as people write it, with the port where it is not the usual one."""
        if self.scheme == "file":
            return self.url
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def at(self, address: str) -> Remote:
        """Return the same repository by an address of its host."""
        return _remote(self.scheme, address, self.port, self.path, self.user)


@dataclass(frozen=True, slots=True)
class Repository:
    """A remote, the credentials that its origin may see, and the namespace on whose behalf it is asked."""

    remote: Remote
    credentials: Credentials = NO_CREDENTIALS
    namespace: str = ""


def parse_url(url: str, *, allow_file: bool = False, field: str = "spec.url") -> Remote:
    """Read `https://`, `http://`, `ssh://`, `git@host:path`, and `file://` where allowed; `field` is for messages.

    Problem(InvalidSpec), which never quotes the URL: another scheme, a password in the URL, no host or path, a
    character that no URL has, a path that leads elsewhere than it says.
    """
    _check_length(url, field)
    if _UNFIT.search(url):
        raise _invalid(field, "it holds a blank, a backslash or a control character")
    if "://" not in url:
        match = _SCP.fullmatch(url)
        if not match:
            raise _invalid(field, "write it as https://host/path, ssh://user@host/path or user@host:path")
        user = match["user"] or DEFAULT_SSH_USER
        _check_path(match["path"], field)
        return _remote("ssh", _host(match["host"].strip("[]"), field), 22, match["path"], user)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _invalid(field, "host or port cannot be read") from None
    _check_path(parts.path, field)
    if parts.scheme == "file":
        return _file(parts, field, allowed=allow_file)
    _check(parts, field)
    user = unquote(parts.username or "") or (DEFAULT_SSH_USER if parts.scheme == "ssh" else "")
    host = _host(parts.hostname or "", field)
    path = _sent(parts.scheme, parts.path)
    return _remote(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], path, user)


def submodule_remote(parent: Remote, url: str) -> Remote:
    """Resolve the URL of a submodule, absolute or relative (`../other.git`) to its parent's.

    Problem(InvalidSpec) as `parse_url`; files are allowed only from a parent that is a file itself. The `.` and `..`
    of a relative one are resolved here, as Git does it; what they lead to is held to the same rules.
    """
    field = "submodule URL"
    if not url.startswith(("./", "../")):
        return parse_url(url, allow_file=parent.scheme == "file", field=field)
    _check_length(url, field)
    if _UNFIT_RELATIVE.search(url):
        raise _invalid(field, "it holds a backslash, a control character, a query or a fragment")
    joined = posixpath.normpath(f"{parent.path.strip('/')}/{url}")
    if joined in {"", ".", ".."} or joined.startswith("../"):
        raise _invalid(field, f"{url} leaves the server")
    _check_path(joined, field)
    path = _sent(parent.scheme, f"/{joined}" if parent.path.startswith("/") else joined)
    return _remote(parent.scheme, parent.host, parent.port, path, parent.user)


def submodule_repository(parent: Repository, url: str) -> Repository:
    """Return a submodule's repository: the parent's credentials on the same origin, else only its trust."""
    return at_submodule(parent, submodule_remote(parent.remote, url))


def at_submodule(parent: Repository, remote: Remote) -> Repository:
    """Return the repository of a submodule whose URL was resolved, as `submodule_repository` does."""
    same = remote.origin == parent.remote.origin
    credentials = parent.credentials if same else parent.credentials.trust_only()
    if same and remote.scheme == "ssh":
        credentials = replace(credentials, username=remote.user)
    return replace(parent, remote=remote, credentials=credentials)


def _remote(scheme: str, host: str, port: int, path: str, user: str) -> Remote:
    shown = f"[{host}]" if ":" in host else host
    login = f"{quote(user)}@" if scheme == "ssh" else ""
    if not path.startswith("/"):
        # Relative to the login folder: only the short form says so (git-clone(1)).
        return Remote(scheme, host, port, path, f"{login}{shown}:{path}", user)
    place = shown if port == DEFAULT_PORTS[scheme] else f"{shown}:{port}"
    return Remote(scheme, host, port, path, f"{scheme}://{login}{place}{path}", user)


def _sent(scheme: str, path: str) -> str:
    """Return a path as it is sent. Only ASCII goes over HTTP (RFC 3986, 2.5); an SSH server takes it as it is."""
    return quote(path, safe=_PATH_SAFE) if scheme in ("http", "https") else path


def _check_length(url: str, field: str) -> None:
    if len(url) > _LONGEST:
        raise _invalid(field, f"it is longer than {_LONGEST:,} characters")


def _check_path(path: str, field: str) -> None:
    """Refuse `.` and `..`: a rule on how URLs begin holds for the text, and a server goes where they lead.

    They are looked for in the text decoded as often as it can be: between us and the server, each proxy may do so once.
    One that can be more often than anybody has proxies is refused, as each time takes as long as the text is.
    """
    for _ in range(MAX_DECODED + 1):
        if (decoded := unquote(path)) == path:
            break
        path = decoded
    else:
        raise _invalid(
            field, f"its path is percent-encoded more than {MAX_DECODED} times over; write it plainly"
        )
    if _DOTS.search(path):
        raise _invalid(
            field,
            "its path has a segment that is . or .., maybe percent-encoded; write the path that it leads to",
        )


def _check(parts: SplitResult, field: str) -> None:
    if parts.scheme not in DEFAULT_PORTS:
        raise _invalid(field, f"scheme {parts.scheme} is not supported; use https or ssh")
    if parts.password is not None or (parts.scheme == "http" and parts.username is not None):
        raise _invalid(field, "it holds credentials; put them into the Secret of spec.secretRef")
    if parts.query or parts.fragment:
        raise _invalid(field, "a query or fragment is not part of a repository's URL")
    if not parts.path.strip("/"):
        raise _invalid(field, "the path of the repository is missing")


def _file(parts: SplitResult, field: str, *, allowed: bool) -> Remote:
    if not allowed:
        raise _invalid(field, "file:// is not allowed; start the operator with --allow-file-urls to allow it")
    if parts.netloc or parts.query or parts.fragment or not parts.path.strip("/"):
        raise _invalid(field, "write a file URL as file:///absolute/path, without a query or fragment")
    return Remote("file", "", 0, parts.path, f"file://{parts.path}")


def _host(host: str, field: str) -> str:
    if not _HOST.fullmatch(host):
        raise _invalid(field, "the host is missing or no host name")
    return host.lower()


def _invalid(field: str, why: str) -> Problem:
    return Problem(Reason.InvalidSpec, f"{field}: {why}")
