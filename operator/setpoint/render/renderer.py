"""Renders inputs into manifests: reads plain files itself, and runs kustomize for kustomizations (shell).

Reading, writing and parsing happen in threads, builds in child processes within limits (`sandbox`); results are
kept by the digest of their inputs, because a reconcile often needs them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from posixpath import normpath, relpath
from typing import Final, NoReturn

from setpoint.api.budgets import DEFAULTS, MIB, Budgets, setting, too_large
from setpoint.api.reasons import Problem, Reason
from setpoint.api.sync import SyncSpec
from setpoint.objects import documents
from setpoint.objects.documents import Document, Places
from setpoint.objects.identity import identity
from setpoint.render import workspace
from setpoint.render.contents import Contents
from setpoint.render.inputs import Flavour, Inputs
from setpoint.render.kustomize import errors, overlay
from setpoint.render.preparing import OVERLAY, REPOSITORY, Job, prepare, prepare_overlay
from setpoint.render.program import Kustomize
from setpoint.render.sandbox import Completed, Stopped
from setpoint.render.unique import TwiceError, checked
from setpoint.runtime import fairness
from setpoint.runtime.disk import cache_problem
from setpoint.runtime.lru import Lru
from setpoint.runtime.slots import Slots
from setpoint.tree.bounded import BoundedTree, Spent
from setpoint.tree.paths import below, join
from setpoint.tree.protocol import Tree
from setpoint.wall.receipt import values_of

_MAX_PLACES: Final = 20_000
"""Objects whose places are remembered."""
_UNREADABLE: Final = (b"MalformedYAMLError", b"yaml: unmarshal errors", b"json: unsupported")
"""Words of kustomize for a file that it cannot read, or cannot write again as JSON."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The objects of a Sync, how many documents of its files are no objects, and in words which are there twice, equal."""

    objects: tuple[Document, ...]
    skipped: int = 0
    twice: tuple[str, ...] = ()


class Renderer:
    """Renders, a few at a time, and remembers. Use it from one event loop, and `close` it at the end."""

    def __init__(
        self,
        kustomize: Kustomize,
        work_dir: Path,
        *,
        concurrency: int = 2,
        cache_bytes: int = 8 * MIB,
        budgets: Budgets = DEFAULTS,
        volume: str = "the folder of temporary files",
    ) -> None:
        """`work_dir`: where exports go for as long as a build runs, and `volume` what is said to be full if it is.

        `cache_bytes`: of manifests as text, which take about six times as much as objects.
        """
        self.budgets, self._volume = budgets, volume
        self._kustomize, self._work_dir, self._limits = kustomize, work_dir, kustomize.limits
        self._slots = Slots(fairness.Limits(concurrency, strict=True))
        self._cache: Lru[str, Rendered] = Lru(cache_bytes)
        self._places: Lru[str, Places] = Lru(_MAX_PLACES)
        workspace.remove_stale(work_dir)

    def close(self) -> None:
        """End the processes that run."""
        self._kustomize.close()

    def known(self, digest: str) -> Rendered | None:
        """Return the result for inputs with this digest, if it is at hand."""
        return self._cache.get(digest)

    def drop(self, digest: str) -> None:
        """Drop the result for inputs with this digest; a later request renders them again."""
        self._cache.drop(digest)

    async def render(self, tree: Tree, spec: SyncSpec, inputs: Inputs, *, home: str = "") -> Rendered:
        """Return the objects of a Sync in the namespace `home`; `inputs` are what `inputs.gather(tree, spec)` found.

        Raises Problem: RenderFailed, Encrypted or TooLarge, with file and what to do; CacheFull.
        """
        if (known := self._cache.get(inputs.digest)) is not None:
            return known
        contents = Contents(BoundedTree(tree, self.budgets), budgets=self.budgets)
        try:
            rendered, size = await self._unique(contents, spec, inputs, home)
        except OSError as error:  # the export of what a build reads
            raise cache_problem(error, Reason.RenderFailed, self._volume) from None
        except Problem as problem:
            raise contents.explained(problem) from None
        if contents.noted:
            await asyncio.to_thread(contents.check, [each.manifest for each in rendered.objects])
        return self._cache.put(inputs.digest, rendered, size)

    async def _unique(self, tree: Tree, spec: SyncSpec, inputs: Inputs, home: str) -> tuple[Rendered, int]:
        """Return the objects, of which no two have one identity, and their size as text."""
        try:
            rendered = await self._render(tree, spec, inputs, home, noted=False)
            found = await checked(rendered.objects)
            self.budgets.check("max_objects", len(found.objects), inputs.folder or ".")
            self.budgets.check("max_render_size", found.size, inputs.folder or ".")
            if len(inputs.builds) > 1 or (
                inputs.builds and inputs.manifests
            ):  # of one alone they were counted
                values = await asyncio.to_thread(_values, found.objects)
                self.budgets.check("max_yaml_values", values, inputs.folder or ".")
            twice = (*rendered.twice, *found.twice)
            return replace(rendered, objects=found.objects, twice=twice), found.size
        except TwiceError:
            await self._tell_twice(tree, spec, inputs, home)

    async def places(self, tree: Tree, spec: SyncSpec, inputs: Inputs, *, home: str = "") -> Places:
        """Return where the objects of a Sync come from, for messages; empty if it cannot be found out.

        A second build, as kustomize tells it by annotations that patches and replacements can see; it is made
        only when somebody asks.
        """
        if (known := self._places.get(inputs.digest)) is not None:
            return known
        if not _is_built(spec, inputs):
            return {}
        try:
            noted = await self._render(tree, spec, inputs, home, noted=True)
        except (Problem, OSError, TwiceError):
            return {}
        found = {identity(each.manifest): each for each in noted.objects}
        return self._places.put(inputs.digest, found, len(found) + 1)

    async def placed(self, tree: Tree, spec: SyncSpec, inputs: Inputs, *, home: str = "") -> Rendered:
        """Return what `render` does, each object with the file that it comes from."""
        rendered = await self.render(tree, spec, inputs, home=home)
        places = await self.places(tree, spec, inputs, home=home)
        objects = (_moved(each, places.get(identity(each.manifest))) for each in rendered.objects)
        return replace(rendered, objects=tuple(objects))

    async def _tell_twice(self, tree: Tree, spec: SyncSpec, inputs: Inputs, home: str) -> NoReturn:
        """Raise the Problem of two objects with one identity, with both places."""
        for noted in (True, False):
            try:
                await checked((await self._render(tree, spec, inputs, home, noted=noted)).objects)
            except TwiceError as error:
                raise Problem(Reason.RenderFailed, str(error)) from None
            except OSError as error:
                raise cache_problem(error, Reason.RenderFailed, self._volume) from None
            except Problem:
                if not noted:
                    raise
        raise Problem(Reason.RenderFailed, "two objects have one identity; remove one of them")

    async def _render(
        self, tree: Tree, spec: SyncSpec, inputs: Inputs, home: str, *, noted: bool
    ) -> Rendered:
        """Build; `noted`: with a note on each object where it comes from. TwiceError if an overlay finds two alike."""
        spent = Spent(self.budgets)
        if inputs.flavour is Flavour.KUSTOMIZE:
            build = inputs.builds[0]
            job = partial(
                prepare, tree=tree, build=build, spec=spec, namespace=spec.target_namespace, spent=spent
            )
            return Rendered(await self._build(partial(job, noted=noted), home))
        plain = await asyncio.to_thread(_plain, tree, inputs, self.budgets)
        bare = spec.model_copy(update={"kustomize": None})
        job = partial(
            prepare, tree=tree, spec=bare, namespace=spec.target_namespace, noted=noted, spent=spent
        )
        built = [await self._build(partial(job, build=build), home) for build in inputs.builds]
        objects = (*plain.objects, *(each for group in built for each in group))
        twice: tuple[str, ...] = ()
        if overlay.wanted(spec, None) and objects:
            # kustomize takes no object twice, not even an equal one.
            found = await checked(objects)
            objects, twice = found.objects, found.twice
            over = partial(prepare_overlay, tree=tree, objects=objects, spec=spec, inputs=inputs, spent=spent)
            objects = await self._build(partial(over, noted=noted), home)
        return Rendered(objects, plain.skipped, twice)

    async def _build(self, prepare: Callable[[Path], Job], home: str) -> tuple[Document, ...]:
        async with self._slots.held(home):
            work = await asyncio.to_thread(workspace.workspace, self._work_dir)
            try:
                return await self._run(await asyncio.to_thread(prepare, work))
            finally:
                await asyncio.to_thread(workspace.remove, work)

    async def _run(self, job: Job) -> tuple[Document, ...]:
        done = await self._kustomize.build(job.work, job.target)
        self._check(done, job)
        return await asyncio.to_thread(_documents, done.stdout, job, self.budgets)

    def _check(self, done: Completed, job: Job) -> None:
        where = job.folder or "."
        limits = self._limits
        if done.stopped is Stopped.TIMEOUT:
            text = f"{where}: kustomize did not end within the {limits.timeout:g} s of {setting('render_timeout')} and was stopped"
            raise Problem(Reason.RenderFailed, text, retry=True)
        if done.stopped is Stopped.MEMORY:
            text = (
                f"{where}: kustomize took more than the {limits.memory // MIB} MiB of memory of "
                f"{setting('render_memory')} and was stopped; make several Syncs of it, or raise the setting"
            )
            raise Problem(Reason.TooLarge, text)
        if done.stopped is Stopped.OUTPUT:
            raise too_large(
                "max_render_size",
                limits.output,
                limits.output,
                f"{where}, as built by kustomize",
                counted=False,
            )
        if done.status < 0:
            text = f"{where}: kustomize was ended by signal {-done.status}"
            raise Problem(Reason.RenderFailed, text, retry=True)
        if done.status != 0:
            raise Problem(
                Reason.RenderFailed, _syntax(done.stderr, job, self.budgets) or _explain(done.stderr, job)
            )


def _is_built(spec: SyncSpec, inputs: Inputs) -> bool:
    return bool(inputs.builds) or overlay.wanted(spec, None)


def _plain(tree: Tree, inputs: Inputs, budgets: Budgets) -> Rendered:
    """Read plain manifests; a file counts as often as symlinks lead to it."""
    objects: list[Document] = []
    skipped = values = size = 0
    for manifest in inputs.manifests:
        data = tree.read(manifest.entry.path)
        size += len(data)
        budgets.check("max_input_size", size, manifest.shown, counted=False)
        loaded = documents.read(data, manifest.shown, budgets)
        objects += loaded.documents
        skipped += loaded.skipped
        values += loaded.values
        budgets.check("max_yaml_values", values, manifest.shown, counted=False)
        budgets.check("max_objects", len(objects), manifest.shown, counted=False)
    return Rendered(tuple(objects), skipped)


def _values(objects: Iterable[Document]) -> int:
    return sum(values_of(each.manifest) or 0 for each in objects)


def _documents(stdout: bytes, job: Job, budgets: Budgets) -> tuple[Document, ...]:
    made = documents.read(stdout, f"{job.folder or '.'} (as built by kustomize)", budgets).documents
    return tuple(_named(each, job) for each in made)


def _named(made: Document, job: Job) -> Document:
    """Name a built object after the file that it comes from if a note says so, else after the folder."""
    manifest, place = overlay.split_origin(made.manifest, job.target, keep=job.keep)
    if job.keep:
        manifest = overlay.with_true_paths(manifest, partial(_true_path, job=job))
    if place is None:
        return Document(manifest, job.folder or ".", made.index, 0)
    folder, _, name = place.rpartition("/")
    if folder == OVERLAY and name in job.names:
        return replace(job.names[name], manifest=manifest)
    return Document(manifest, _true(place.removeprefix(f"{REPOSITORY}/"), job), made.index, 0)


def _true(path: str, job: Job) -> str:
    """Return where a file lies in the repository."""
    return next((copy.entry.path for copy in job.copies if copy.path == path), path)


def _true_path(path: str, job: Job) -> str:
    """Return a path of a note as it is without our overlay and copies: from the folder that is built."""
    for copy in job.copies:
        if path == copy.place or path.endswith(f"/{copy.place}"):
            path = normpath(join(path.removesuffix(copy.place), copy.text))
    if job.target != OVERLAY:
        return path
    place = normpath(f"{OVERLAY}/{path}")
    if not below(place, REPOSITORY):
        return errors.OVERLAY
    return relpath(place, join(REPOSITORY, job.folder))


def _moved(document: Document, place: Document | None) -> Document:
    return replace(place, manifest=document.manifest) if place else document


def _explain(stderr: bytes, job: Job) -> str:
    said = stderr.decode("utf-8", "replace").replace(str(job.work / OVERLAY), errors.OVERLAY)
    folder = errors.OVERLAY if job.target == OVERLAY else job.folder
    repository = str(job.work / REPOSITORY)
    for copy in job.copies:
        said = said.replace(f"{repository}/{copy.path}", f"{repository}/{copy.entry.path}")
        said = said.replace(copy.place, copy.text)
    files = (str(each.relative_to(repository)) for each in Path(repository).rglob("[Kk]ustomization*"))
    return errors.explain(said, repository, folder, secret=job.secret, files=files)


def _syntax(stderr: bytes, job: Job, budgets: Budgets) -> str | None:
    """Find the file that is no YAML with our own reader, which knows the line; None if that is not the cause."""
    if not any(words in stderr for words in _UNREADABLE):
        return None
    for path, content in workspace.manifests(job.work / REPOSITORY):
        try:
            list(documents.parse(content, _true(path, job), budgets))
        except Problem as problem:
            return problem.message
    return None
