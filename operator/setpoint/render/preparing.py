"""Prepares a run of kustomize: exports what it reads, with an overlay over it or beside it where one is wanted (shell)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from setpoint.api.sync import SyncSpec
from setpoint.objects.documents import Document
from setpoint.render import workspace
from setpoint.render.inputs import Inputs
from setpoint.render.kustomize import overlay
from setpoint.render.kustomize.build import Build, Copy, find_kustomization
from setpoint.render.kustomize.keys import text_of
from setpoint.tree.bounded import Spent
from setpoint.tree.paths import join
from setpoint.tree.protocol import EntryKind, Tree

REPOSITORY: Final = "repository"
OVERLAY: Final = "overlay"
_SECRET: Final = (b"Secret", b"secret", b"sops")


@dataclass(frozen=True, slots=True)
class Job:
    """One run of kustomize in `work`: what is built (from the root, for people), and what names its objects.

    `target`: the folder to build, from `work`. `names`: the documents behind the files of an overlay. `keep`:
    whether the notes of origin were asked for. `secret`: whether its words may quote a Secret. `copies`: files that
    lie elsewhere than in the repository.
    """

    work: Path
    target: str
    folder: str
    keep: bool
    secret: bool
    names: Mapping[str, Document]
    copies: tuple[Copy, ...] = ()


def prepare(
    work: Path,
    *,
    tree: Tree,
    build: Build,
    spec: SyncSpec,
    namespace: str | None,
    noted: bool,
    spent: Spent,
) -> Job:
    """Export a build, with the overlay beside it; `spent` has what the builds before it took."""
    repository = work / REPOSITORY
    repository.mkdir()
    workspace.build(tree, build, repository, spent)
    content = orjson.loads(build.top)
    target = join(REPOSITORY, build.folder)
    if overlay.wanted(spec, namespace):
        base = f"../{target}"
        made = overlay.kustomization(spec, namespace, [base], base, content)
        target = OVERLAY
        _write_kustomization(work / OVERLAY, overlay.with_origins(made) if noted else made)
    elif noted and (file := find_kustomization(tree, build.folder)):
        (repository / file).write_bytes(text_of(overlay.with_origins(content)))
    return Job(
        work,
        target,
        build.folder,
        overlay.notes_wanted(content),
        _holds_secret(tree, build),
        {},
        build.copies,
    )


def prepare_overlay(
    work: Path,
    *,
    tree: Tree,
    objects: Sequence[Document],
    spec: SyncSpec,
    inputs: Inputs,
    noted: bool,
    spent: Spent,
) -> Job:
    """Export objects that were read or built already, one file each, with the overlay over them."""
    repository, target = work / REPOSITORY, work / OVERLAY
    repository.mkdir()
    if inputs.components:
        workspace.build(tree, inputs.components, repository, spent)
    # A component may be beside the path only, which kustomize still goes through.
    (repository / inputs.folder).mkdir(parents=True, exist_ok=True)
    names = {f"{number:06}.json": each for number, each in enumerate(objects)}
    content = overlay.kustomization(spec, None, list(names), f"../{join(REPOSITORY, inputs.folder)}")
    _write_kustomization(target, overlay.with_origins(content) if noted else content)
    for name, each in names.items():
        (target / name).write_bytes(orjson.dumps(each.manifest))
    secret = any(each.manifest["kind"] == "Secret" for each in objects)
    secret = secret or (inputs.components is not None and _holds_secret(tree, inputs.components))
    copies = inputs.components.copies if inputs.components else ()
    return Job(work, OVERLAY, inputs.folder, keep=False, secret=secret, names=names, copies=copies)


def _write_kustomization(folder: Path, content: Mapping[str, Any]) -> None:
    folder.mkdir()
    (folder / "kustomization.yaml").write_bytes(text_of(content))


def _holds_secret(tree: Tree, build: Build) -> bool:
    files = [entry.path for entry in build.entries if entry.kind is EntryKind.BLOB]
    whole = any(entry.kind is EntryKind.TREE for entry in build.entries)
    return whole or any(word in tree.read(path) for path in files for word in _SECRET)
