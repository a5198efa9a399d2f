"""The processes that talk to Git servers: `python -P -s -m setpoint.git.worker.main SOCKET_FD PARENT_PID` (`fences.launcher`).

The launcher imports libgit2 once; each child is a fork of it that fences itself in (`git.worker.fence`) before it hears of a
server or a login. libgit2's trust settings belong to the whole process and pile up, so each set of trust and origin has a
child of its own (`git.workers`), and each namespace has. A *lister* asks servers for their refs, and has no mirror at all;
a *fetcher* fills one mirror.

A child reads requests from its socket and writes answers to it, each a 4-byte big-endian length and JSON; as many run at once
as come in: the parent decides whose turn it is. It ends when the socket does, so it never outlives its parent. Credentials
come with the request and stay in memory.

request: {id, op: list | fetch, repository, hosts, ref, selected?, mirror?, maxBytes?, limit?, budgets?}   answer: {id, result | problem}
"""

from __future__ import annotations

import gc
import os
import resource
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

import pygit2
from pygit2.enums import ConfigLevel

from setpoint.api.budgets import Budgets
from setpoint.api.hosts import HostRules
from setpoint.api.reasons import Problem, Reason
from setpoint.fences import launcher
from setpoint.git.contents.objects import freed
from setpoint.git.credentials import Credentials
from setpoint.git.mirror import PACK_FILES, Mirror
from setpoint.git.protocol import Message, failure, read, write
from setpoint.git.refs import Selected, select
from setpoint.git.remotes import Remote, Repository
from setpoint.git.worker.fence import Ground
from setpoint.git.worker.fetch import Fetch, create, fetch
from setpoint.git.worker.remote import list_heads
from setpoint.runtime import disk
from setpoint.wall.messages import GitRef

LOST: Final = 3
"""The exit status of a child whose folders, or the machine's files, were replaced since it was fenced to them."""


def become(message: Message, descriptors: list[int]) -> NoReturn:
    """Serve one child's requests, from the socket that it is given; `home` is its own, for what libgit2 must find in files."""
    channel = socket.socket(fileno=os.dup(descriptors[0]))
    os.close(descriptors[0])
    for standard in (1, 2):
        os.dup2(0, standard)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    home = Path(message["home"])
    os.environ["HOME"] = str(home)
    sandbox(home)
    ground = Ground.fenced(message)
    serve(home, channel, ground)


def serve(home: Path, channel: socket.socket, ground: Ground) -> NoReturn:
    """Answer requests until the socket ends."""
    writer = threading.Lock()
    requests, answers = channel.makefile("rb"), channel.makefile("wb")

    def one(request: Message) -> None:
        answer = _answer(home, request)
        if "problem" in answer and not ground.stands():
            os._exit(LOST)  # it may be for that alone; the parent asks another child
        with writer:
            write(answers, answer)

    while (request := read(requests)) is not None:
        threading.Thread(target=one, args=(request,), daemon=True).start()
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
        failed = disk.cache_problem(error)
    except Exception as error:  # noqa: BLE001 - the parent must hear of it; a type's name holds no value
        failed = Problem(Reason.GitFailed, f"an internal error ({type(error).__name__}) in the Git process")
    # A failure holds the frames it came through, and they the files of a fetch that take space though deleted.
    failed.__traceback__ = None
    gc.collect()
    return {"id": request["id"], "problem": failure(failed)}


_HOME = threading.Lock()


def scratch_in(home: Path) -> pygit2.Repository:
    """Return the empty repository that ls-remote needs.

    Done for each request: whoever wipes the cache wipes the home too, and may leave half of it.
    """
    scratch = home / "scratch.git"
    with _HOME:
        with suppress(pygit2.GitError):
            if (scratch / "config").exists():
                return pygit2.Repository(str(scratch))
        disk.remove(scratch)
        # Where it cannot be, the operating system says why, and libgit2 does not.
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return create(scratch)


def _list(home: Path, request: Message) -> Message:
    repository = _repository(request)
    with freed(scratch_in(home)) as scratch:
        heads, target = list_heads(repository, scratch, _rules(request))
    selected = select(GitRef(**request["ref"]), heads, target)
    return {"ref": selected.ref, "sha": selected.sha, "revision": selected.revision}


def _fetch(_home: Path, request: Message) -> Message:
    ref, selected = GitRef(**request["ref"]), Selected(**request["selected"])
    repository = _repository(request)
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
    gc.freeze()  # what was imported is shared by all forks for as long as nobody writes to it
    launcher.main(int(sys.argv[1]), int(sys.argv[2]), become)
