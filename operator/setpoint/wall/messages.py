"""What the operator asks of the worker, and what the worker answers (pure data).

A request or an answer is made of plain values: texts, numbers, tuples, mappings of JSON. No call is made for a path, and what
a look depended on never crosses: it stays with the worker, and has an id.

A *handle* names a mirror, for the worker alone. A *digest* stands for all inputs of a render. A *read set* is what a look at a commit depended
on, whether it led to objects or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from setpoint.api.reasons import Problem, Reason
from setpoint.wall.words import shortened

PROTOCOL = 1
"""The version of the messages; both sides must have the same."""


# --- a connection


@dataclass(frozen=True, slots=True)
class ApiServer:
    """A place of the API server, where Git may not connect to."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of the operator: the version of the protocol, that of Setpoint, and where its API server is."""

    protocol: int
    build: str
    api: tuple[ApiServer, ...] = ()


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer: `landlock` is the ABI that fences the worker's children (0: none), `cache` the id of its mirrors.

    With another id than before, nothing that the operator knew to be in the cache is there.
    """

    protocol: int
    build: str
    landlock: int
    cache: str


PROCESSES: Final = ("broker", "launcher", "reader", "renderer", "lister", "fetcher")
"""The kinds of processes that a worker has."""


@dataclass(frozen=True, slots=True)
class Stats:
    """What the worker tells of itself: bytes of memory and processes by kind (of `PROCESSES`; of one that is left out there is none), how many
    readers died since its start, and for how long the one has waited, in seconds, that waits longest for a reader.
    """

    memory: Mapping[str, int]
    processes: Mapping[str, int]
    deaths: int
    longest_wait: float


# --- requests


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are for a Git server (empty where not used), and whom we trust; no `repr` shows it."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)
    identity: str = field(default="", repr=False)
    passphrase: str = field(default="", repr=False)
    known_hosts: str = field(default="", repr=False)
    ca: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a Source's commits come from: the namespace that it is asked for, and the limit of one operation in seconds."""

    namespace: str
    url: str
    login: Login
    submodules: bool
    timeout: float


@dataclass(frozen=True, slots=True)
class GitRef:
    """`spec.ref` of a Source: at most one is set (`branch` may accompany `commit`); none means the remote's HEAD."""

    branch: str | None = None
    tag: str | None = None
    semver: str | None = None
    name: str | None = None
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """Ask a remote what a ref stands for, and fetch that commit if it is not there. Answer: Checked, Failed."""

    place: Place
    ref: GitRef


@dataclass(frozen=True, slots=True)
class Fetch:
    """Find an older commit: in the cache, else with `remote` at the server. Answer: Fetched, Lost, Failed."""

    place: Place
    sha: str
    remote: bool


@dataclass(frozen=True, slots=True)
class Compare:
    """Find out which of these read sets a step between two commits touches. Answer: Compared."""

    handle: str
    old: str
    new: str
    submodules: bool
    read_sets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """A commit as a Sync of `namespace` sees it; `spec`: the fields of its spec that decide what is rendered, as JSON."""

    namespace: str
    handle: str
    sha: str
    submodules: bool
    spec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Build:
    """Make the objects of a commit, unless its inputs are of a digest in `have`. Answer: Built, Same, Lost, Failed."""

    look: Look
    have: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Objects:
    """Give the objects of inputs that are known by their digest once more. Answer: Built, Lost, Failed."""

    look: Look
    digest: str


@dataclass(frozen=True, slots=True)
class Places:
    """Find the files that these objects come from, for messages; it may cost another build. Answer: Placed."""

    look: Look
    digest: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Forget objects by the digests of their inputs, read sets, and handles with their logins: nobody needs them any more. No answer."""

    namespace: str
    digests: tuple[str, ...]
    read_sets: tuple[str, ...]
    handles: tuple[str, ...] = ()


# --- answers


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that failed, for people: see `Problem`. `read_set`: what the look that failed depended on, if it was one."""

    reason: Reason
    message: str
    retry: bool | None = None
    read_set: str = ""

    @classmethod
    def of(cls, problem: Problem, read_set: str = "") -> Failed:
        """Return a problem as an answer; of a message that is too long, its beginning."""
        return cls(problem.reason, shortened(problem.message), problem.retry, read_set)

    def problem(self) -> Problem:
        """Return the problem, to be raised."""
        return Problem(self.reason, self.message, self.retry)


@dataclass(frozen=True, slots=True)
class Lost:
    """The cache does not hold the commit (any more)."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a ref stands for: `revision` is `main@sha1:<40 hex>`, `time` (RFC 3339) when the commit was authored.

    `held`: whether all of it is in the cache; one that is too small may have dropped it again.
    """

    handle: str
    sha: str
    revision: str
    subject: str
    author: str
    time: str
    held: bool


@dataclass(frozen=True, slots=True)
class Fetched:
    """A commit that is in the cache."""

    handle: str


@dataclass(frozen=True, slots=True)
class Compared:
    """Which of the read sets are touched; `everything`: all are, as a commit cannot be compared."""

    touched: tuple[str, ...] = ()
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Same:
    """The inputs are of this digest, which the operator has."""

    digest: str
    read_set: str


@dataclass(frozen=True, slots=True)
class Made:
    """One object: where it stands, for people (`file:line`, or the file alone), and which document of the file it is, from 1.

    `line` is that of the document, from 1; 0 where a renderer made the object.
    """

    where: str
    index: int
    line: int
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Built:
    """The objects of inputs with this digest, how many documents are no objects, and in words which are there twice, equal.

    `read_set` is empty where no commit was looked at. `held`: whether the cache has the commit (still); what is remembered needs none.
    """

    digest: str
    read_set: str
    objects: tuple[Made, ...]
    skipped: int = 0
    twice: tuple[str, ...] = ()
    held: bool = True


@dataclass(frozen=True, slots=True)
class Located:
    """Where an object comes from, by its identity as rendered (`namespace` is empty where it names none)."""

    group: str
    kind: str
    namespace: str
    name: str
    where: str


@dataclass(frozen=True, slots=True)
class Placed:
    """Where objects come from, as far as it could be found out."""

    objects: tuple[Located, ...] = ()
