"""For how long a tenant's bombs hold the operator's event loop: each is sent to an operator of its own, and sent again as another commit."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import FileMode
from tests.bench import workload
from tests.bench.actions import REQUESTED, applied, is_ready, wait
from tests.bench.client import Client, Json
from tests.bench.report import Figure, Figures
from tests.bench.stage import Operator, Stage, staged
from tests.bench.tree import Sampler
from tests.kit.bombs import CONFIG, MIB, Bombs
from tests.kit.servers.githttp import GitHttp

KEYS = 30_000
"""An API server takes half a minute for 70,000."""
SIGNS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
HELD_BY_MESSAGES, HELD_BY_OBJECT = 50.0, 100.0
"""Milliseconds for which messages, and one object, may hold the loop."""
Files = Callable[[Bombs, str], pygit2.Oid]


@dataclass(frozen=True)
class Bomb:
    """What is in a folder, with a text that makes two of them differ, and the reason that Ready has; `Succeeded` for what is applied."""

    title: str
    folder: Files
    reason: str = "TooLarge"
    milliseconds: float = HELD_BY_MESSAGES


def _paths(bombs: Bombs, text: str) -> pygit2.Oid:
    return bombs.nested(6, 10, bombs.files(10, CONFIG + f"# {text}".encode()))


def _blanks(bombs: Bombs, text: str) -> pygit2.Oid:
    return _folder(bombs, {"other.yaml": f"# {text}".encode()}, [("a.yaml", bombs.blanks(600))])


def _values(bombs: Bombs, text: str) -> pygit2.Oid:
    line = b"- {a: b}\n"
    return _folder(bombs, {"a.yaml": line * (5 * MIB // len(line)) + f"# {text}".encode()})


def _many(bombs: Bombs, text: str) -> pygit2.Oid:
    return bombs.files(100_000, CONFIG + f"# {text}".encode())


def _output(bombs: Bombs, text: str) -> pygit2.Oid:
    generators = "".join(f"- {{name: a{n}, files: [big]}}\n" for n in range(64))
    big = (b"x" * 99 + b"\n") * (MIB // 100 - 1) + text.encode()
    kustomization = f"configMapGenerator:\n{generators}".encode()
    return _folder(bombs, {"kustomization.yaml": kustomization, "big": big})


def keys(text: str) -> dict[str, str]:
    """As many keys as fit into a ConfigMap, managedFields included; each has this value."""
    return {f"{SIGNS[n // 3844]}{SIGNS[n // 62 % 62]}{SIGNS[n % 62]}": text for n in range(KEYS)}


def _keys(bombs: Bombs, text: str) -> pygit2.Oid:
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "keys"}, "data": keys(text)}
    return _folder(bombs, {"a.json": json.dumps(made, separators=(",", ":")).encode()})


def _folder(bombs: Bombs, files: dict[str, bytes], more: Sequence[tuple[str, pygit2.Oid]] = ()) -> pygit2.Oid:
    written = [(name, bombs.file(data)) for name, data in files.items()]
    return bombs.folder((name, oid, FileMode.BLOB) for name, oid in [*written, *more])


BOMBS = {
    "paths": Bomb("ten million paths", _paths),
    "blanks": Bomb("a file of 600 MiB of blanks", _blanks),
    "values": Bomb("5 MiB of small YAML values", _values),
    "many": Bomb("100,000 files in a folder", _many),
    "output": Bomb("a kustomization that makes 64 MiB", _output),
    "keys": Bomb(
        f"a ConfigMap of {KEYS:,} keys, all changed by a commit and by hand",
        _keys,
        "Succeeded",
        HELD_BY_OBJECT,
    ),
}


def figures(_count: int) -> Sequence[Figure]:
    """What is measured."""
    rest = Figure("rest_ms", "the event loop held at most: after a start, without Sources", "ms")
    rows = [
        Figure(f"{name}_ms", f"  by {bomb.title}", "ms", bomb.milliseconds) for name, bomb in BOMBS.items()
    ]
    return (rest, *rows, Figure("peak_worker_mib", "memory of the worker, peak", "MiB"),
            Figure("peak_operator_mib", "memory of the operator, peak", "MiB"))  # fmt: skip


async def run(*, say: Callable[[str], None]) -> Figures:
    """Measure; `say` hears how far it is."""
    found = Figures()
    async with staged() as stage:
        with tempfile.TemporaryDirectory() as folder, GitHttp(Path(folder)) as server:
            for name, bomb in BOMBS.items():
                say(bomb.title)
                target = Target(stage.client, name, server.url(name), Bombs(server.repo(name).path), bomb)
                await _dropped(stage, target, found)
    return found


async def _dropped(stage: Stage, target: Target, found: Figures) -> None:
    with stage.operator() as operator:
        operator.quiet()
        found.setdefault("rest_ms", round(operator.held().get("held_ms", 0.0), 1))
        sampler = Sampler(operator.pid)
        await wait(target.send())
        if target.bomb.reason == "Succeeded":
            await wait(target.edit())
        found.put(f"{target.name}_ms", _most(operator))
        sampler.stop()
        for part in ("worker", "operator"):
            key, peak = f"peak_{part}_mib", getattr(sampler.parts, part) / MIB
            found.put(key, max(peak, found.get(key, 0.0)))
        await target.leave()


def _most(operator: Operator) -> float:
    operator.quiet()
    return operator.held().get("held_ms", 0.0)


class Target:
    """A Source and a Sync of a bomb, both with its name."""

    def __init__(self, client: Client, name: str, url: str, bombs: Bombs, bomb: Bomb) -> None:
        self.name, self.bomb = name, bomb
        self._client, self._url, self._bombs = client, url, bombs

    async def send(self) -> None:
        """Make both, and another commit; returns when each was told to be what it is."""
        await self._commit("1")
        await self._client.apply(workload.source(self._url, name=self.name))
        await self._client.apply(workload.sync(self.name, path="./p", source={"name": self.name}))
        await self._settled("")
        sha = await self._commit("2")
        await self._client.merge(
            self._client.path("Source", workload.HOME, self.name),
            {"metadata": {"annotations": {REQUESTED: sha}}},
        )
        await self._settled(sha)

    async def edit(self) -> None:
        """Change every key by hand, and wait until it is as before."""
        path = self._client.path("ConfigMap", workload.TARGET, "keys")
        before = await self._client.get(path)
        await self._client.merge(path, {"data": keys("3")})
        base = path.rpartition("/")[0]
        await self._client.until_all(base, ["keys"], lambda o: o["data"] == before["data"])

    async def leave(self) -> None:
        """Delete both."""
        for kind in ("Sync", "Source"):
            await self._client.send("DELETE", self._client.path(kind, workload.HOME, self.name))
        gone = self._client.path("Sync", workload.HOME)
        while any(s["metadata"]["name"] == self.name for s in (await self._client.get(gone))["items"]):
            await asyncio.sleep(0.2)

    async def _commit(self, text: str) -> str:
        folder = self.bomb.folder(self._bombs, text)
        return self._bombs.commit(self._bombs.folder([("p", folder, FileMode.TREE)]))

    async def _settled(self, sha: str) -> None:
        path = self._client.path("Sync", workload.HOME)
        await self._client.until_all(path, [self.name], lambda sync: self._says(sync, sha))

    def _says(self, sync: Json, sha: str) -> bool:
        if self.bomb.reason == "Succeeded":
            return is_ready(sync) and sha in applied(sync)
        conditions = (sync.get("status") or {}).get("conditions") or ()
        told = next((c for c in conditions if c["type"] == "Ready"), {"reason": "", "message": ""})
        return told["reason"] == self.bomb.reason
