"""Bare Git repositories whose history tests write, without a work tree.

In: files by path. Out: commits, made by `git fast-import`, so that modes, symlinks and submodules are exact.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

AUTHOR = "Test Author <author@example.com>"
# Neither the configuration of this machine nor the repository around it may change what a test sees.
ENVIRONMENT = {
    "PATH": os.environ.get("PATH", os.defpath),
    "LC_ALL": "C",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Test Author",
    "GIT_AUTHOR_EMAIL": "author@example.com",
    "GIT_COMMITTER_NAME": "Test Committer",
    "GIT_COMMITTER_EMAIL": "committer@example.com",
}


class GitError(RuntimeError):
    """A git command failed; the message is the command and its stderr."""


@dataclass(frozen=True)
class Symlink:
    """A tree entry that points to another path."""

    target: str


@dataclass(frozen=True)
class Executable:
    """A file with the executable bit."""

    content: str | bytes


@dataclass(frozen=True)
class Submodule:
    """A tree entry that names a commit of another repository; `.gitmodules` is a file of its own."""

    commit: str


Entry = str | bytes | Symlink | Executable | Submodule | None


def git(*args: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run git apart from this machine's configuration; its stdout without the last newline."""
    environment = {**ENVIRONMENT, **(env or {})}
    result = subprocess.run(
        ["git", *map(str, args)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise GitError(f"git {' '.join(map(str, args))}: {result.stderr.strip()}")
    return result.stdout.removesuffix("\n")


class Repo:
    """A bare repository on disk, made empty with HEAD on `main`.

    `any_sha` lets clients fetch commits that no ref names (uploadpack.allowAnySHA1InWant).
    """

    def __init__(self, path: Path, *, any_sha: bool = False) -> None:
        self.path = path
        git("init", "--quiet", "--bare", "--initial-branch=main", path)
        self.git("config", "uploadpack.allowFilter", "true")
        self.git("config", "uploadpack.allowAnySHA1InWant", str(any_sha).lower())
        # A background repack would race with the removal of the test's folder.
        self.git("config", "gc.auto", "0")

    def git(self, *args: str) -> str:
        """Run git in this repository; its stdout."""
        return git("-C", self.path, *args)

    def commit(
        self,
        files: Mapping[str, Entry],
        message: str = "change",
        *,
        author: str = AUTHOR,
        branch: str = "main",
        at: int | None = None,
        orphan: bool = False,
    ) -> str:
        """Commit on top of `branch`, which need not exist; the commit id.

        A path whose entry is None is deleted, a folder too. `at` is in seconds since 1970. `orphan` starts a
        history without a parent, which replaces the branch.
        """
        when = f"{int(time.time()) if at is None else at} +0000"
        parent = None if orphan else self.find(f"refs/heads/{branch}")
        head = [f"commit refs/heads/{branch}", "mark :1", f"author {author} {when}"]
        head += [f"committer Test Committer <committer@example.com> {when}"]
        parts = ["\n".join(head).encode() + b"\n", _data(message.encode())]
        parts += [f"from {parent}\n".encode()] if parent else []
        parts += [_change(path, entry) for path, entry in files.items()]
        return self._import(b"".join([*parts, b"\nget-mark :1\ndone\n"]))

    def find(self, revision: str) -> str | None:
        """The object that a revision names, if there is one."""
        try:
            return self.git("rev-parse", "--verify", "--quiet", revision)
        except GitError:
            return None

    def head(self, branch: str = "main") -> str:
        """The commit of a branch."""
        return self.git("rev-parse", "--verify", f"refs/heads/{branch}")

    def reset(self, revision: str, branch: str = "main") -> None:
        """Point a branch anywhere, as a force-push does."""
        self.git("update-ref", f"refs/heads/{branch}", self.git("rev-parse", f"{revision}^{{commit}}"))

    def tag(self, name: str, revision: str = "refs/heads/main", message: str | None = None) -> str:
        """A light tag, or with a message an annotated one; the id of what the tag ref names."""
        annotation = ["-a", "-m", message] if message is not None else []
        self.git("tag", "--force", *annotation, name, revision)
        return self.git("rev-parse", f"refs/tags/{name}")

    def delete_branch(self, branch: str) -> None:
        """Delete a branch, even the one that HEAD names."""
        self.git("update-ref", "-d", f"refs/heads/{branch}")

    def delete_tag(self, name: str) -> None:
        """Delete a tag."""
        self.git("update-ref", "-d", f"refs/tags/{name}")

    def set_head(self, branch: str) -> None:
        """Make this the branch that HEAD names; it need not exist."""
        self.git("symbolic-ref", "HEAD", f"refs/heads/{branch}")

    def load(self, stream: Iterable[bytes]) -> None:
        """Take in what `git fast-import` reads, ended by `done`; for histories too large to hold in memory."""
        command = ["git", "-C", str(self.path), "fast-import", "--quiet", "--force", "--done"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, env=ENVIRONMENT) as running:
            assert running.stdin
            running.stdin.writelines(stream)
        if running.returncode:
            raise GitError(f"git fast-import: exit code {running.returncode}")

    def _import(self, stream: bytes) -> str:
        command = ["git", "-C", str(self.path), "fast-import", "--quiet", "--force", "--done"]
        result = subprocess.run(command, input=stream, env=ENVIRONMENT, capture_output=True, check=False)
        if result.returncode:
            raise GitError(f"git fast-import: {result.stderr.decode(errors='replace').strip()}")
        return result.stdout.decode().strip()


def _change(path: str, entry: Entry) -> bytes:
    name = _quoted(path)
    match entry:
        case None:
            return b"D " + name + b"\n"
        case Submodule(commit):
            return f"M 160000 {commit} ".encode() + name + b"\n"
        case Symlink(target):
            return b"M 120000 inline " + name + b"\n" + _data(target.encode())
        case Executable(content):
            return b"M 100755 inline " + name + b"\n" + _data(_bytes(content))
        case _:
            return b"M 100644 inline " + name + b"\n" + _data(_bytes(entry))


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _data(content: bytes) -> bytes:
    return f"data {len(content)}\n".encode() + content + b"\n"


def _quoted(path: str) -> bytes:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'.encode("utf-8", "surrogateescape")
