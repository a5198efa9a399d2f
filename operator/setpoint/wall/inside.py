"""What is asked within the worker: by the broker of a reader, and by a reader of the broker (pure data).

A reader answers `Build`, `Objects`, `Places`, `Compare` and `Drop` of the operator as well (`wall.messages`). It knows no login and no URL that one goes
to: the broker tells it what a commit pins, by handles.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Describe:
    """Say what people want to know of a commit, if all of it is there. Answer: Described, Lost, Failed."""

    handle: str
    sha: str
    submodules: bool


@dataclass(frozen=True, slots=True)
class Described:
    """A commit: `time` (RFC 3339) is when it was authored."""

    subject: str
    author: str
    time: str


@dataclass(frozen=True, slots=True)
class Links:
    """List the submodules that a commit names. Answer: Linked, Lost, Failed."""

    handle: str
    sha: str


@dataclass(frozen=True, slots=True)
class Submodule:
    """A submodule as `.gitmodules` and the tree have it: its URL is whatever somebody wrote there."""

    path: str
    url: str
    sha: str


@dataclass(frozen=True, slots=True)
class Linked:
    """The submodules of a commit."""

    submodules: tuple[Submodule, ...] = ()


@dataclass(frozen=True, slots=True)
class Pinned:
    """A submodule with the mirror that has it."""

    path: str
    handle: str
    sha: str


@dataclass(frozen=True, slots=True)
class Told:
    """What a commit pins, told by the broker before anything is asked of it. No answer."""

    handle: str
    sha: str
    pins: tuple[Pinned, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Build the folder `target` of the folder `work` in the reader's own, with kustomize. Answer: Ran, Failed."""

    work: str
    target: str


@dataclass(frozen=True, slots=True)
class Ran:
    """How the program ended: its status (minus the signal that ended it), and why it was stopped if it was.

    What it printed lies in two files beside the work folder (`worker.folders.outputs`).
    """

    status: int
    stopped: str


@dataclass(frozen=True, slots=True)
class Damaged:
    """A mirror that cannot be read: it is to be made anew. A notice."""

    handle: str
