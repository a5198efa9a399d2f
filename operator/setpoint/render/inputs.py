"""Collects the inputs of a render: the files that a Sync's path leads to, and a digest of them and of the spec (pure).

Same digest, same result: a commit that changes none of these files needs no work. Only ids are looked up;
of the content, kustomization files alone are read, and what was found for an unchanged folder is remembered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from setpoint.api.budgets import DEFAULTS, Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.api.sync import RENDER_FIELDS, SyncSpec
from setpoint.render import plain as folders
from setpoint.render.contents import Contents
from setpoint.render.kustomize.build import Build, Closure, find_kustomization
from setpoint.render.plain import Manifest
from setpoint.tree.bounded import BoundedTree, Spent
from setpoint.tree.paths import Outside, resolve
from setpoint.tree.protocol import Entry, EntryKind, Tree

_FORMAT: Final = "1"
"""Part of every digest; another meaning of the inputs gets another number."""


class Flavour(StrEnum):
    """How a path is rendered."""

    PLAIN = "plain"
    KUSTOMIZE = "kustomize"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a render reads.

    `digest`: of everything that decides the result. `paths`: all files and whole folders, sorted. `folder`: the
    real path of spec.path. `manifests`: plain files. `builds`: kustomizations to build. `components`: what the
    components of the overlay read, where the overlay is laid over plain manifests.
    """

    digest: str
    paths: tuple[str, ...]
    flavour: Flavour
    folder: str
    manifests: tuple[Manifest, ...] = ()
    builds: tuple[Build, ...] = ()
    components: Build | None = None


def gather(tree: Tree, spec: SyncSpec, budgets: Budgets = DEFAULTS) -> Inputs:
    """Find the inputs of a Sync in a commit.

    Raises Problem: PathNotFound, HelmUnsupported, InvalidSpec (a pattern in `exclude`), or RenderFailed for a
    kustomization that cannot be read, refers to something remote or missing, or wants a plugin. Encrypted for one
    that is. TooLarge for more than the `budgets`.
    """
    tree = Contents(BoundedTree(tree, budgets), strict=True, budgets=budgets)
    spent = Spent(budgets)
    folder = find_folder(tree, spec.path, spent)
    if find_kustomization(tree, folder):
        closure = Closure(tree, budgets, spent)
        closure.visit(folder)
        _overlay(closure, folder, spec)
        return _inputs(spec, Flavour.KUSTOMIZE, folder, builds=(closure.build(folder),))
    plain = folders.select(tree, folder, spec.exclude, budgets, spent)
    builds = tuple(_nested(Closure(tree, budgets, spent), nested) for nested in plain.kustomizations)
    components = Closure(tree, budgets, spent)
    _overlay(components, folder, spec)
    return _inputs(spec, Flavour.PLAIN, folder, plain.manifests, builds, components.build(folder))


def find_folder(tree: Tree, path: str, spent: Spent | None = None) -> str:
    """Return the real path of spec.path; Problem(PathNotFound) if it is no folder of the commit."""
    try:
        found = resolve(tree, "", path, spent)
    except Outside as error:
        raise Problem(Reason.PathNotFound, f"spec.path: {error}") from None
    if found is None:
        raise Problem(Reason.PathNotFound, f"spec.path {path!r} does not exist in the commit")
    if found.entry.kind is EntryKind.SUBMODULE:
        raise Problem(
            Reason.PathNotFound,
            f"spec.path {path!r} is a submodule, which was not fetched; set spec.submodules of the Source",
        )
    if found.entry.kind is not EntryKind.TREE:
        raise Problem(Reason.PathNotFound, f"spec.path {path!r} is a file; name its folder")
    return found.path


def _nested(closure: Closure, folder: str) -> Build:
    closure.visit(folder)
    return closure.build(folder)


def _overlay(closure: Closure, folder: str, spec: SyncSpec) -> None:
    for text in spec.kustomize.components if spec.kustomize else ():
        closure.component(folder, text)


def _inputs(
    spec: SyncSpec,
    flavour: Flavour,
    folder: str,
    manifests: tuple[Manifest, ...] = (),
    builds: tuple[Build, ...] = (),
    components: Build | None = None,
) -> Inputs:
    parts = builds if components is None else (*builds, components)
    entries = {entry.path: entry for build in parts for entry in build.entries}
    paths = {entry.path for entry in (*entries.values(), *(m.entry for m in manifests))}
    return Inputs(
        digest=_digest(spec, flavour, _lines(manifests, entries.values())),
        paths=tuple(sorted(paths)),
        flavour=flavour,
        folder=folder,
        manifests=manifests,
        builds=builds,
        components=components if components and components.entries else None,
    )


def _lines(manifests: Iterable[Manifest], entries: Iterable[Entry]) -> Iterator[str]:
    """Return one line for each input, without line breaks inside, in a stable order."""
    yield from (f"{m.shown!a} {m.entry.path!a} {m.entry.oid}" for m in manifests)
    ordered = sorted(entries, key=lambda entry: entry.path)
    yield from (f"{e.path!a} {e.kind} {e.oid} {e.executable}" for e in ordered)


def _digest(spec: SyncSpec, flavour: Flavour, lines: Iterable[str]) -> str:
    fields = spec.model_dump(mode="json", include=RENDER_FIELDS, exclude_none=True)
    head = json.dumps([_FORMAT, flavour, fields], sort_keys=True)
    return hashlib.sha256("\n".join([head, *lines]).encode()).hexdigest()
