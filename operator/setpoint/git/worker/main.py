"""The child process that talks to one Git server: `python -m setpoint.git.worker.main HOME`.

libgit2's trust settings belong to the whole process and pile up, so each set of trust and origin has a process of
its own (`git.workers`). It reads requests from standard input and writes answers to standard output, each a
4-byte big-endian length and JSON; as many run at once as come in: the parent decides whose turn it is. It ends when its standard input does, so it never outlives
its parent. Credentials come with the request and stay in memory.

request: {id, op: list | fetch, repository, hosts, ref, selected?, mirror?, maxBytes?, limit?, budgets?}   answer: {id, result | problem}
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pygit2
from pygit2.enums import ConfigLevel

from setpoint.api.budgets import Budgets
from setpoint.api.hosts import HostRules
from setpoint.api.reasons import Problem, Reason
from setpoint.git.credentials import Credentials
from setpoint.git.mirror import PACK_FILES, Mirror, freed
from setpoint.git.protocol import Message, read, write
from setpoint.git.refs import Selected, select
from setpoint.git.remotes import Remote, Repository
from setpoint.git.worker.fetch import Fetch, create, fetch
from setpoint.git.worker.remote import list_heads
from setpoint.runtime.disk import cache_problem
from setpoint.wall.messages import GitRef


def main(home: Path) -> None:
    """Serve requests until standard input ends; HOME is ours alone, for what libgit2 must find in files."""
    sandbox(home)
    writer = threading.Lock()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer

    def serve(request: Message) -> None:
        answer = _answer(home, request)
        with writer:
            write(answers, answer)

    while (request := read(requests)) is not None:
        threading.Thread(target=serve, args=(request,), daemon=True).start()
    os._exit(0)  # threads may hang in a server that never answers


def sandbox(home: Path) -> None:
    """Make libgit2 read no configuration of the machine, and known_hosts from `home`."""
    for level in (ConfigLevel.PROGRAMDATA, ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
        pygit2.settings.search_path[level] = ""
    pygit2.settings.homedir = str(home)
    pygit2.settings.mwindow_file_limit = PACK_FILES
    # file:// (tests only) may name a repository of another user; hooks and commands are never run.
    pygit2.settings.owner_validation = False


def _answer(home: Path, request: Message) -> Message:
    try:
        return {"id": request["id"], "result": _OPERATIONS[request["op"]](home, request)}
    except Problem as problem:
        failed = problem
    except OSError as error:
        failed = cache_problem(error)
    except Exception as error:  # noqa: BLE001 - the parent must hear of it; a type's name holds no value
        failed = Problem(Reason.GitFailed, f"an internal error ({type(error).__name__}) in the Git worker")
    # A failure holds the frames it came through, and they the files of a fetch that take space though deleted.
    failed.__traceback__ = None
    gc.collect()
    return {"id": request["id"], "problem": [str(failed.reason), failed.message]}


_HOME = threading.Lock()


def furnish(home: Path) -> pygit2.Repository:
    """Make sure of the empty repository that ls-remote needs, and give it.

    Done for each request: whoever wipes the cache wipes the home too, and may leave half of it.
    """
    scratch = home / "scratch.git"
    with _HOME:
        with suppress(pygit2.GitError):
            if (scratch / "config").exists():
                return pygit2.Repository(str(scratch))
        shutil.rmtree(scratch, ignore_errors=True)
        # Where it cannot be, the operating system says why, and libgit2 does not.
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return create(scratch)


def _list(home: Path, request: Message) -> Message:
    repository = _repository(request)
    with freed(furnish(home)) as scratch:
        heads, target = list_heads(repository, scratch, _rules(request))
    selected = select(GitRef(**request["ref"]), heads, target)
    return {"ref": selected.ref, "sha": selected.sha, "revision": selected.revision}


def _fetch(home: Path, request: Message) -> Message:
    ref, selected = GitRef(**request["ref"]), Selected(**request["selected"])
    repository = _repository(request)
    furnish(home).free()
    budgets = Budgets(**request["budgets"])
    limits = request["maxBytes"], request["limit"]
    wanted = Fetch(repository, ref, selected, *limits, _rules(request), budgets)
    return {"sha": fetch(Mirror(Path(request["mirror"])), wanted)}


_OPERATIONS = {"list": _list, "fetch": _fetch}


def _repository(request: Message) -> Repository:
    given = request["repository"]
    return Repository(Remote(**given["remote"]), Credentials(**given["credentials"]))


def _rules(request: Message) -> HostRules:
    given = request["hosts"]
    return HostRules(
        tuple(given["allowed"]), tuple(given["denied"]), tuple((host, port) for host, port in given["api"])
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
