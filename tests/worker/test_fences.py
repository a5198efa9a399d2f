"""What a reader, or a renderer of it, gets at that was taken over: in its place runs a program that tries all that it should not.

Broker, launchers and fences are the real ones; only what the child does in there is exchanged.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.brokered import Brokered
from tests.kit.fenced import ALONE, ATTEMPTS, PYTHON
from tests.kit.servers.repo import Repo

from setpoint.fences.policy import Policy
from setpoint.wall.messages import Build, Built, Check, Checked, GitRef, Login, Look, Place
from setpoint.worker import broker, readers

CONFIG = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
BESIDE = """
def beside(given, connected):
    '''What a child can do to the broker, and to reach the wall; `connected`: a socket that it was given, if it was.'''
    import struct
    libc, broker, found = ctypes.CDLL(None, use_errno=True), given["broker"], {}
    def tried(name, deed, *arguments):
        try:
            deed(*arguments)
            found[name] = "done"
        except OSError as error:
            found[name] = errno.errorcode.get(error.errno, str(error.errno))
    def called(name, *arguments):
        if getattr(libc, name)(*arguments) < 0:
            raise OSError(ctypes.get_errno(), "")
    def dialled(where):
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(where)
    tried("signal to the broker", os.kill, broker, 0)
    tried("trace of the broker", called, "ptrace", 0x4206, broker, None, None)
    tried("memory of the broker", lambda: open(f"/proc/{broker}/mem", "rb"))
    for name in ("wall", "abstract"):
        tried("dial " + name, dialled, given[name])
        if connected is not None:
            address = struct.pack("H", socket.AF_UNIX) + os.fsencode(given[name]) + bytes(name == "wall")
            tried("connect to " + name, called, "connect", connected, address, len(address))
            tried("send to " + name, called, "sendto", connected, b"x", 1, socket.MSG_NOSIGNAL, address, len(address))
    if connected is not None:
        tried("disconnect", called, "connect", connected, bytes(16), 16)
        tried("listen", called, "listen", connected, 1)
    return found
"""
READER = (
    ATTEMPTS
    + BESIDE
    + """
import json, pathlib, sys
from setpoint.fences import launcher
from setpoint.worker.reader import main
real, serve, given = main.become, main.serve, {}
def become(message, descriptors):
    given.update(json.loads(pathlib.Path(PLACES).read_text()))
    real(message, descriptors)
async def attack(calls, errands, reader):
    if given:
        found = attempts(given["paths"] | {"its own": reader.scratch}, given["abstract"])
        found |= beside(given, calls.fileno())
        pathlib.Path(reader.scratch, "report").write_text(json.dumps(found))
    await serve(calls, errands, reader)
main.serve = attack
launcher.main(int(sys.argv[1]), int(sys.argv[2]), become)
"""
)
RENDERER = (
    f"#!{sys.executable} -IS\n"
    + ATTEMPTS
    + BESIDE
    + """
import json
given = json.loads(PLACES)
found = attempts(given["paths"] | {"its own": os.getcwd()}, given["abstract"], RUN)
found |= beside(given, None)
print(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"report": json.dumps(found)}}))
"""
)


class Ground:
    """Two tenants with a commit each, a token, the wall's socket, and a broker whose children attack."""

    def __init__(self, folder: Path, worker: Brokered, wall: str, abstract: str) -> None:
        self.folder, self.worker, self._wall, self._abstract = folder, worker, wall, abstract
        (folder / "token").write_text("secret")

    async def look(self, namespace: str, path: str = "p") -> Look:
        """Return how to look at a commit of a tenant, which is in the cache by then."""
        repo = Repo(self.folder / f"{namespace}.git")
        repo.commit({"p/a.yaml": CONFIG, "k/a.yaml": CONFIG, "k/kustomization.yaml": "resources: [a.yaml]"})
        place = Place(namespace, f"file://{repo.path}", Login(), False, 60.0)
        at = await self.worker.check(Check(place, GitRef(branch="main")))
        assert isinstance(at, Checked), at
        return Look(namespace, at.handle, at.sha, False, {"path": path})

    async def build(self, look: Look) -> Built:
        """Build what a Sync reads."""
        built = await self.worker.build(Build(look, ()))
        assert isinstance(built, Built), built
        return built

    def scratch(self, namespace: str) -> Path:
        """Return the folder of the only reader of a namespace."""
        (child,) = (each for each in self.worker.broker.readers._pool.all if each.key.namespace == namespace)
        return child._setup.scratch

    def places(self, **paths: Path) -> str:
        """Return what is attacked, as JSON: these, and what all have in common."""
        found = {
            **paths,
            "token": self.folder / "token",
            "key": self.folder / "cache" / "git" / "key",
            "cache": self.folder / "cache",
            "passwd": Path("/etc/passwd"),
            "process": Path(f"/proc/{os.getpid()}/environ"),
        }
        named = {name: str(path) for name, path in found.items()}
        assert all(map(os.path.exists, named.values())), named
        return json.dumps(
            {"paths": named, "broker": os.getpid(), "wall": self._wall, "abstract": self._abstract}
        )


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Listen as a worker does, in a folder, and as somebody on the machine may, without."""
    names = str(tmp_path / "w"), f"\0{tmp_path}"
    with socket.socket(socket.AF_UNIX) as wall, socket.socket(socket.AF_UNIX) as abstract:
        for each, name in zip((wall, abstract), names, strict=True):
            each.bind(name)
            each.listen()
        yield names


SOCKETS = (
    "AF_INET",
    "AF_INET6",
    "AF_UNIX",
    "AF_NETLINK",
    "socketpair",
    "abstract",
    "dial wall",
    "dial abstract",
)
REFUSED = ALONE | dict.fromkeys((*SOCKETS, "mode", "trace of the broker", "memory of the broker"), "EACCES")
REFUSED |= {"signal to the broker": "EPERM"}
LEADS_ELSEWHERE = dict.fromkeys(
    ("connect to wall", "send to wall", "connect to abstract", "send to abstract"), "EISCONN"
)
"""What a socket that is connected already says to an address."""


def judged(found: dict[str, str], places: str, *, links: bool) -> dict[str, str]:
    """Return the rest of a report, once all is as it must be with files: those of its own folder, and no others."""
    own = {verb: found.pop(f"{verb} its own") for verb in ("read", "write", "link")}
    assert own == {"read": "done", "write": "done", "link": "done" if links else "EACCES"}
    for name in json.loads(places)["paths"]:
        assert found.pop(f"read {name}") == "EACCES", name
        assert found.pop(f"write {name}") == "EACCES", name
        assert found.pop(f"link {name}") in ("EACCES", "ENOTDIR"), name
    return found


async def test_a_reader_that_was_taken_over(
    tmp_path: Path, sockets: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads its own namespace's mirrors, and reaches nobody: its sockets lead to the broker, and nowhere else."""
    places, mirrors = tmp_path / "places", tmp_path / "cache" / "git" / "mirrors"
    (program := tmp_path / "taken_over.py").write_text(READER.replace("PLACES", repr(str(places))))
    monkeypatch.setattr(readers, "LAUNCHER", ("-P", "-s", str(program)))
    async with Brokered(tmp_path / "cache") as worker:
        ground = Ground(tmp_path, worker, *sockets)
        places.write_text("{}")
        await ground.build(await ground.look("other"))
        (mirrors / "team").mkdir()
        theirs = {"mirror": next((mirrors / "other").iterdir()), "scratch": ground.scratch("other")}
        text = ground.places(all=mirrors, mirrors=mirrors / "other", **theirs, mine=mirrors / "team")
        places.write_text(text)
        await ground.build(await ground.look("team"))
        found = json.loads((ground.scratch("team") / "report").read_text())
    assert found["read mine"] == "done"
    found["read mine"] = "EACCES"
    rest = judged(found, text, links=True)
    assert rest == REFUSED | LEADS_ELSEWHERE | {"disconnect": "EINVAL", "listen": "EINVAL"}


async def test_a_renderer_that_was_taken_over(tmp_path: Path, sockets: tuple[str, str]) -> None:
    """It has its work folder, and not even the mirror that this came from."""
    program, mirrors = tmp_path / "kustomize", tmp_path / "cache" / "git" / "mirrors"
    async with Brokered(tmp_path / "cache", kustomize=str(program), render_libraries=PYTHON) as worker:
        ground = Ground(tmp_path, worker, *sockets)
        await ground.build(await ground.look("other"))
        look = await ground.look("team", "k")
        found = {each: next((mirrors / each).iterdir()) for each in ("other", "team")}
        folders = {"reader": ground.scratch("team"), "another": ground.scratch("other")}
        places = ground.places(**folders, **found)
        program.write_text(RENDERER.replace("PLACES", repr(places)).replace("RUN", "True"))
        program.chmod(0o755)
        (made,) = (await ground.build(look)).objects
    rest = judged(json.loads(made.manifest["data"]["report"]), places, links=False)
    assert rest == REFUSED


async def test_a_child_that_is_not_fenced_would_be_found_out(
    tmp_path: Path, sockets: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same attack without Landlock reads what is another's: so what is asserted above is Landlock's doing."""
    monkeypatch.setattr(broker, "fences", lambda settings: Policy(required=False, libraries=PYTHON, newest=0))
    program, mirrors = tmp_path / "kustomize", tmp_path / "cache" / "git" / "mirrors"
    async with Brokered(tmp_path / "cache", kustomize=str(program)) as worker:
        ground = Ground(tmp_path, worker, *sockets)
        await ground.build(await ground.look("other"))
        look = await ground.look("team", "k")
        places = ground.places(mirror=next((mirrors / "other").iterdir()))
        program.write_text(RENDERER.replace("PLACES", repr(places)).replace("RUN", "False"))
        program.chmod(0o755)
        (made,) = (await ground.build(look)).objects
    report = json.loads(made.manifest["data"]["report"])
    assert report["read mirror"] == report["read token"] == "done"
    assert report["dial wall"] == "EACCES"
