"""Kustomizations, against kustomize alone: the same objects, and of the repository exactly the files opened that were gathered.

kustomize builds the repository as it is, and the kernel tells which files it opens (`opened`). What `gather` finds must be these
files; what the renderer makes of them must be the same objects. What Setpoint refuses names a file, with words that `MEANT` has.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from tests.fuzz import repositories
from tests.fuzz.opened import Watch
from tests.fuzz.repositories import Repository
from tests.fuzz.target import REFUSED, SAME, Check, Meant, Target, differ, fewer, meant, shorter
from tests.kit.cluster import binaries

from setpoint.api.reasons import Problem
from setpoint.api.sync import SyncSpec
from setpoint.objects import documents
from setpoint.render.inputs import Flavour, Inputs, gather
from setpoint.render.program import LIMITS, Program
from setpoint.render.renderer import Renderer
from setpoint.tree.local import LocalTree
from setpoint.tree.paths import below
from setpoint.tree.protocol import EntryKind

MEANT: Final = (
    Meant("is absolute|leaves the repository", "nothing outside of the repository is read"),
    Meant(
        "are one field to kustomize; keep one|for which kustomize takes it; write that",
        "which of two spellings counts nobody should have to know (decision 17)",
    ),
    Meant(
        "is a kustomize plugin|inflates Helm charts|inflating Helm charts",
        "no programs of a repository are run",
    ),
    Meant(
        "both an object and the path of a file",
        "what a text means must not depend on a file's name (decision 17)",
    ),
    Meant(
        "something follows the end of the document",
        "kubectl would drop it, and one file means the same to all that read it (decision 47)",
    ),
    Meant("duplicate key", "kustomize takes the last of two equal keys, or fails, as it comes"),
)
SECONDS: Final = 60


@dataclass(frozen=True)
class Built:
    """What kustomize alone makes of a folder: objects or words, and the files that it opened, from the root."""

    objects: list[Any] | str
    opened: frozenset[str]


def _alone(kustomize: Path, root: Path, path: str) -> Built:
    files = [Path(at) / name for at, _, names in os.walk(root) for name in names]
    watch = Watch(file for file in files if not file.is_symlink())
    try:
        command = [
            str(kustomize),
            "build",
            f"{root}/repo/{path}",
            "--load-restrictor",
            "LoadRestrictionsNone",
        ]
        environment = {"PATH": "", "HOME": str(root), "GOGC": "off", "TMPDIR": str(root)}
        done = subprocess.run(command, capture_output=True, check=False, env=environment, timeout=SECONDS)
        opened = frozenset(str(file.relative_to(root)) for file in watch.taken())
    finally:
        watch.close()
    if done.returncode:
        return Built(done.stderr.decode("utf-8", "replace"), opened)
    try:
        return Built([each.manifest for each in documents.load(done.stdout, "alone")], opened)
    except Problem as problem:  # it builds what is no object, too
        return Built(f"it builds {problem.message}", opened)


@dataclass(frozen=True)
class Ours:
    """What Setpoint makes of it: objects or the words of the Problem; and the inputs, if they could be gathered."""

    objects: list[Any] | str
    inputs: Inputs | None = None


async def _ours(renderer: Renderer, root: Path, path: str) -> Ours:
    tree, spec = LocalTree(root / "repo"), SyncSpec.model_validate({"source": {"name": "s"}, "path": path})
    inputs = None
    try:
        inputs = gather(tree, spec)
        made = await renderer.render(tree, spec, inputs)
    except Problem as problem:
        return Ours(problem.message, inputs)
    return Ours([each.manifest for each in made.objects], inputs)


def _compare(case: Repository, theirs: Built, ours: Ours) -> str:
    inputs = ours.inputs
    if inputs is not None and inputs.flavour is not Flavour.KUSTOMIZE:
        return "no kustomization"
    if isinstance(ours.objects, str):
        _check_named(case, ours.objects)
        return REFUSED if isinstance(theirs.objects, str) else meant(MEANT, ours.objects)
    if isinstance(theirs.objects, str):
        differ(f"kustomize refuses it ({theirs.objects}), Setpoint builds {json.dumps(ours.objects)}")
    if theirs.objects != ours.objects:
        differ(f"kustomize builds {json.dumps(theirs.objects)}, Setpoint {json.dumps(ours.objects)}")
    assert inputs is not None
    return _compare_files(theirs.opened, inputs)


def _check_named(case: Repository, message: str) -> None:
    """A message begins with a path of the repository, or with the folder that is built."""
    place = message.split(":", maxsplit=1)[0].split(" ", maxsplit=1)[0]
    folders = {path.rpartition("/")[0] or "." for path in case.files}
    if place not in {*case.files, *case.links, *folders, case.path, "spec.path", "."}:
        differ(f"no file is named: {message}")


def _compare_files(opened: frozenset[str], inputs: Inputs) -> str:
    entries = [entry for build in inputs.builds for entry in build.entries]
    gathered = {f"repo/{entry.path}" for entry in entries if entry.kind is EntryKind.BLOB}
    whole = [f"repo/{entry.path}".rstrip("/") for entry in entries if entry.kind is EntryKind.TREE]
    if more := {path for path in opened - gathered if not any(below(path, folder) for folder in whole)}:
        differ(f"kustomize opens what was not gathered: {sorted(more)}")
    if less := gathered - opened:
        differ(f"gathered is what kustomize does not open: {sorted(less)}")
    return f"{SAME}, with whole folders" if whole else SAME


@contextmanager
def opened(folder: Path) -> Iterator[Check[Repository]]:
    """Yield what compares a repository; both readers get it in a folder of its own."""
    kustomize = binaries.ensure("kustomize")["kustomize"]
    loop = asyncio.new_event_loop()
    renderer = Renderer(Program(kustomize, replace(LIMITS, timeout=SECONDS)), folder / "work")

    def check(case: Repository) -> str:
        root = folder / "case"
        shutil.rmtree(root, ignore_errors=True)
        repositories.write(case, root)
        theirs = _alone(kustomize, root, case.path)
        ours = loop.run_until_complete(_ours(renderer, root, case.path))
        return _compare(case, theirs, ours)

    try:
        yield check
    finally:
        loop.run_until_complete(_closed(renderer))
        loop.close()


async def _closed(renderer: Renderer) -> None:
    renderer.close()


def smaller(case: Repository) -> Iterator[Repository]:
    """Leave out files and links, then entries of the kustomizations, then lines."""
    yield from (replace(case, files=dict(left)) for left in fewer(list(case.files.items())))
    yield from (replace(case, links=dict(left)) for left in fewer(list(case.links.items())))
    for path, text in case.files.items():
        for less in repositories.less(text) if "ustomization" in path else ():
            yield replace(case, files={**case.files, path: less})
    for path, text in case.files.items():
        for lines in shorter(text) if len(text) < 300 else ():
            yield replace(case, files={**case.files, path: lines})


def _read(data: bytes) -> Repository:
    return Repository(**json.loads(data))


def _write(case: Repository) -> bytes:
    return json.dumps(asdict(case), indent=1).encode() + b"\n"


TARGET = Target("kustomizations", repositories.make, smaller, _read, _write, opened, examples=40)
