"""Makes the objects of a commit: gathers the inputs, and renders them where they are not known (shell)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from setpoint.api.reasons import Problem, Reason
from setpoint.api.sync import SyncSpec
from setpoint.git.contents.reader import Gone
from setpoint.objects.documents import Document
from setpoint.objects.identity import ObjectId, identity
from setpoint.render.inputs import Inputs, gather
from setpoint.render.renderer import Rendered, Renderer
from setpoint.render.unique import FEW
from setpoint.tree.changes import RecordingTree
from setpoint.tree.protocol import Tree
from setpoint.wall.limits import MAX_NAME, MAX_PLACED, SENT_DEPTH
from setpoint.wall.messages import (
    Build,
    Built,
    Failed,
    Located,
    Look,
    Lost,
    Made,
    Objects,
    Placed,
    Places,
    Same,
)
from setpoint.wall.receipt import breach
from setpoint.wall.sizes import SIZES
from setpoint.wall.words import line, shortened
from setpoint.worker.reader.commits import Commits
from setpoint.worker.reader.read_sets import ReadSets

_UNUSED: Final = {"name": "none"}
"""The Source of a spec, which no render depends on."""
_FIELDS: Final = 64
"""Bytes that the names of an object's fields take in an answer."""


@dataclass(frozen=True, slots=True)
class _Gathered:
    """A commit with what a Sync reads of it."""

    tree: Tree
    spec: SyncSpec
    inputs: Inputs
    read_set: str = ""


class Builds:
    """Builds for Syncs; the slots and the cache of results are the renderer's."""

    def __init__(self, commits: Commits, renderer: Renderer, read_sets: ReadSets) -> None:
        self._commits, self._renderer, self._read_sets = commits, renderer, read_sets

    async def build(self, request: Build) -> Built | Same | Lost | Failed:
        """Return the objects of a commit, or only the digest of its inputs where the operator has it."""
        found = await asyncio.to_thread(self._noted, request.look)
        if not isinstance(found, _Gathered):
            return found
        if found.inputs.digest in request.have:
            return Same(found.inputs.digest, found.read_set)
        return await self._render(request.look, found)

    async def objects(self, request: Objects) -> Built | Lost | Failed:
        """Return objects once more: those that are remembered, else those of the commit."""
        known = self._renderer.known(request.digest)
        if known is not None:
            held = await asyncio.to_thread(self._holds, request.look)
            return await answered(known, request.digest, held=held)
        found = await asyncio.to_thread(self._gathered, request.look)
        if not isinstance(found, _Gathered):
            return found
        if found.inputs.digest != request.digest:
            text = f"the files below {found.inputs.folder or '.'} are not those that were asked for"
            return Failed(Reason.InternalError, text)
        return await self._render(request.look, found)

    async def places(self, request: Places) -> Placed:
        """Return where objects come from; nothing if the commit cannot be built that way."""
        found = await asyncio.to_thread(self._gathered, request.look)
        if not isinstance(found, _Gathered) or found.inputs.digest != request.digest:
            return Placed()
        home = request.look.namespace
        places = await self._renderer.places(found.tree, found.spec, found.inputs, home=home)
        return Placed(tuple(_located(places)))

    def _noted(self, look: Look) -> _Gathered | Lost | Failed:
        """Gather, and keep what that depended on, also where it failed."""
        tree = self._opened(look)
        if isinstance(tree, Lost | Failed):
            return tree
        noting = RecordingTree(tree, self._renderer.budgets)
        found = self._inputs(look, noting)
        if isinstance(found, Lost):
            return found
        read_set = self._read_sets.keep(noting.read_set())
        if isinstance(found, Failed):
            return replace(found, read_set=read_set)
        return replace(found, tree=tree, read_set=read_set)

    def _gathered(self, look: Look) -> _Gathered | Lost | Failed:
        tree = self._opened(look)
        return tree if isinstance(tree, Lost | Failed) else self._inputs(look, tree)

    def _opened(self, look: Look) -> Tree | Lost | Failed:
        try:
            return self._commits.tree(look.handle, look.sha, submodules=look.submodules) or Lost()
        except Problem as problem:
            return self._failed(look, problem)

    def _inputs(self, look: Look, tree: Tree) -> _Gathered | Lost | Failed:
        spec = SyncSpec.model_validate({**look.spec, "source": _UNUSED})
        try:
            return _Gathered(tree, spec, gather(tree, spec, self._renderer.budgets))
        except Problem as problem:
            return self._failed(look, problem)

    async def _render(self, look: Look, found: _Gathered) -> Built | Lost | Failed:
        try:
            made = await self._renderer.render(found.tree, found.spec, found.inputs, home=look.namespace)
        except Problem as problem:
            return await asyncio.to_thread(self._failed, look, problem, found.read_set)
        return await answered(made, found.inputs.digest, found.read_set)

    def _failed(self, look: Look, problem: Problem, read_set: str = "") -> Lost | Failed:
        """Return the problem of a commit; a cache that is lost while it is read counts as one that was lost before."""
        if isinstance(problem, Gone) or not self._holds(look):
            return Lost()
        return Failed.of(problem, read_set)

    def _holds(self, look: Look) -> bool:
        return self._commits.holds(look.handle, look.sha, submodules=look.submodules)


def _located(places: Mapping[ObjectId, Document]) -> Iterator[Located]:
    """Yield where objects come from, as many as one answer may tell."""
    room = SIZES[Placed] // 2  # quotes and backslashes are escaped
    for oid, place in itertools.islice(places.items(), MAX_PLACED):
        where = line(place.where)
        if not all(len(each) <= MAX_NAME and each.isprintable() for each in oid):
            continue  # no API server takes such a name
        room -= sum(len(each.encode()) for each in (*oid, where)) + _FIELDS
        if room < 0:
            return
        yield Located(*oid, where)


async def answered(
    rendered: Rendered, digest: str, read_set: str = "", *, held: bool = True
) -> Built | Failed:
    """Return objects as an answer, or why one of them cannot cross."""
    documents = rendered.objects
    unfit = _unfit(documents) if len(documents) <= FEW else await asyncio.to_thread(_unfit, documents)
    if unfit is not None:
        return Failed.of(Problem(Reason.RenderFailed, unfit), read_set)
    made = tuple(Made(line(each.where), each.index, each.line, each.manifest) for each in documents)
    return Built(digest, read_set, made, rendered.skipped, tuple(map(shortened, rendered.twice)), held)


def _unfit(documents: Iterable[Document]) -> str | None:
    """Return what keeps the first object that cannot cross from it, in words for people."""
    found = ((each, breach(each.manifest, SENT_DEPTH)) for each in documents)
    return next((f"{d.where}: {identity(d.manifest).label()} {why}" for d, why in found if why), None)
