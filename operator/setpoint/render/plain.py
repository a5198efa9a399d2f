"""Finds the manifests of a plain folder, minus `exclude`; remembers unchanged folders (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from setpoint.api.budgets import Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.render.kustomize.build import find_kustomization, read_kustomization
from setpoint.runtime.lru import Lru
from setpoint.tree.bounded import Spent
from setpoint.tree.gitignore import BadLine, GitIgnore
from setpoint.tree.paths import Found, Outside, below, join, resolve
from setpoint.tree.protocol import Entry, EntryKind, Tree

SUFFIXES: Final = (".yaml", ".yml", ".json")
_CHART: Final = "Chart.yaml"
_MAX_LISTED: Final = 4 * 2**20
"""Bytes of all listings that are remembered, about: a name may have thousands."""
_ENTRY: Final = 200


@dataclass(frozen=True, slots=True)
class Manifest:
    """A file of manifests: the path by which people know it, and the entry (of the target, if it is a symlink)."""

    shown: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Selection:
    """What a folder of plain manifests holds: files, and the folders of nested kustomizations, sorted by path."""

    manifests: tuple[Manifest, ...]
    kustomizations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Listing:
    """What a folder holds, relative to it; a folder with a kustomization or a chart is listed as that alone.

    `seen`: how many files and folders are below it, of whatever kind, which is a function of the content too.
    `size`: how many characters its paths have.
    """

    manifests: tuple[tuple[str, str], ...] = ()
    kustomizations: tuple[str, ...] = ()
    charts: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    seen: int = 0
    size: int = 0

    def __len__(self) -> int:
        return len(self.manifests) + len(self.kustomizations) + len(self.charts) + len(self.links)


_LISTINGS: Final[Lru[str, _Listing]] = Lru(_MAX_LISTED)
"""Listings by tree id: a function of the content, whatever repository it is from."""


def select(tree: Tree, folder: str, exclude: tuple[str, ...], budgets: Budgets, spent: Spent) -> Selection:
    """Find the manifests below a folder, but for folders whose names begin with a dot, and for `exclude`.

    Patterns are gitignore's, relative to the folder. Components are left out, because they are nothing by
    themselves. Raises Problem: HelmUnsupported for a chart, RenderFailed for a symlink that leads nowhere, TooLarge.
    """
    walk = _Walk(tree, _patterns(exclude, budgets), budgets, spent)
    walk.take(folder, "", folder, ())
    return Selection(
        tuple(sorted(walk.manifests, key=lambda m: m.shown)), tuple(sorted(set(walk.kustomizations)))
    )


def _patterns(exclude: tuple[str, ...], budgets: Budgets) -> GitIgnore:
    budgets.check("max_patterns", len(exclude))
    budgets.check("max_patterns_size", sum(map(len, exclude)))
    try:
        return GitIgnore(exclude)
    except BadLine as error:
        raise Problem(Reason.InvalidSpec, f"spec.exclude: {error}") from None


class _Walk:
    """Collects what is not excluded, through symlinks to folders too."""

    def __init__(self, tree: Tree, patterns: GitIgnore, budgets: Budgets, spent: Spent) -> None:
        self._tree, self._patterns, self._budgets, self._spent = tree, patterns, budgets, spent
        self.manifests: list[Manifest] = []
        self.kustomizations: list[str] = []
        self._linked = self._seen = 0

    def take(self, real: str, relative: str, shown: str, above: tuple[str, ...]) -> None:
        """Add the folder at `real`; `relative` is its path for patterns, `shown` the one for people.

        `above`: the places of the symlinks that led here.
        """
        listing = _listing(self._tree, real, self._budgets)
        self._seen += listing.seen
        self._budgets.check("max_files", self._seen, shown or ".", counted=False)
        self._spent.add(shown, listing.size, 0)
        for name in listing.charts:
            if not self._patterns.ignores(join(inside := join(relative, name), _CHART)):
                self._chart(join(shown, name), inside)
        for name in listing.kustomizations:
            if not self._patterns.ignores(join(join(relative, name), "kustomization.yaml")):
                self._nested(join(real, name))
        for name, oid in listing.manifests:
            if not self._patterns.ignores(join(relative, name)):
                entry = Entry(join(real, name), EntryKind.BLOB, oid)
                self.manifests.append(Manifest(join(shown, name), entry))
        for name in listing.links:
            if not self._patterns.ignores(join(relative, name)):
                self._link(join(real, name), join(relative, name), join(shown, name), above)

    @staticmethod
    def _chart(shown: str, relative: str) -> None:
        where = join(shown, _CHART)
        if not relative:
            raise Problem(
                Reason.HelmUnsupported,
                f"{where}: Helm charts are not supported yet; use rendered manifests or a kustomization",
            )
        raise Problem(
            Reason.HelmUnsupported,
            f"{where}: Helm charts are not supported yet; list {relative + '/'!r} in spec.exclude",
        )

    def _nested(self, folder: str) -> None:
        file = find_kustomization(self._tree, folder)
        if file and not read_kustomization(self._tree, file, self._budgets, self._spent)[0].component:
            self.kustomizations.append(folder)

    def _link(self, path: str, relative: str, shown: str, above: tuple[str, ...]) -> None:
        try:
            found = resolve(self._tree, path.rpartition("/")[0], path.rpartition("/")[2], self._spent)
        except Outside as error:
            raise Problem(
                Reason.RenderFailed, f"{error}; list it in spec.exclude if it is not wanted"
            ) from None
        if found is None:
            if relative.endswith(SUFFIXES):
                raise Problem(Reason.RenderFailed, f"{shown} is a symlink that leads nowhere")
        elif found.entry.kind is EntryKind.TREE:
            self._linked_folder(found, relative, shown, (*above, path))
        elif relative.endswith(SUFFIXES) and found.entry.kind is EntryKind.BLOB:
            self.manifests.append(Manifest(shown, found.entry))

    def _linked_folder(self, found: Found, relative: str, shown: str, above: tuple[str, ...]) -> None:
        if any(below(link, found.path) for link in above):
            raise Problem(Reason.RenderFailed, f"{shown} is a symlink that leads back to a folder above it")
        self._linked += 1
        self._budgets.check("max_links", self._linked, shown, counted=False)
        if find_kustomization(self._tree, found.path):
            self._nested(found.path)
        else:
            self.take(found.path, relative, shown, above)


def _listing(tree: Tree, folder: str, budgets: Budgets) -> _Listing:
    """List a folder. Repositories with submodules are listed anew each time: whether they were fetched is not in the id."""
    entry = tree.entry(folder)
    if entry is None:
        return _Listing()
    tree.children(
        folder
    )  # whoever notes what is looked at must hear of it, also where the listing is remembered
    return _list(tree, entry, budgets, remember=tree.entry(".gitmodules") is None)


def _list(tree: Tree, folder: Entry, budgets: Budgets, *, remember: bool) -> _Listing:
    known = _LISTINGS.get(folder.oid) if remember else None
    if known is None:
        known = _merge(_parts(tree, folder, budgets, remember), folder.path, budgets)
        if remember:
            _LISTINGS.put(folder.oid, known, known.size + _ENTRY * (len(known) + 1))
    return known


def _merge(parts: Iterator[tuple[str, _Listing]], folder: str, budgets: Budgets) -> _Listing:
    """Join what the children of a folder hold, as long as they are not too many: equal folders are listed once, and count each."""
    manifests, kustomizations, charts, links = [], [], [], []
    seen = size = 0
    for name, part in parts:
        seen += part.seen + 1
        budgets.check("max_files", seen, folder or ".", counted=False)
        manifests += [(join(name, path), oid) for path, oid in part.manifests]
        kustomizations += [join(name, path) for path in part.kustomizations]
        charts += [join(name, path) for path in part.charts]
        links += [join(name, path) for path in part.links]
        size += part.size + len(part) * (len(name) + 1)
        budgets.check("max_input_size", size, folder or ".", counted=False)
    return _Listing(tuple(manifests), tuple(kustomizations), tuple(charts), tuple(links), seen, size)


def _parts(tree: Tree, folder: Entry, budgets: Budgets, remember: bool) -> Iterator[tuple[str, _Listing]]:
    children = tree.children(folder.path)
    names = {child.name for child in children}
    if _CHART in names:
        # All of them were listed, as often as symlinks lead here.
        yield "", _Listing(charts=("",), seen=len(children))
        return
    for child in children:
        if child.kind is EntryKind.TREE and not child.name.startswith("."):
            is_kustomization = find_kustomization(tree, child.path) is not None
            yield (
                child.name,
                _Listing(kustomizations=("",))
                if is_kustomization
                else _list(tree, child, budgets, remember=remember),
            )
        elif child.kind is EntryKind.LINK:
            yield "", _Listing(links=(child.name,), size=len(child.name))
        elif child.kind is EntryKind.BLOB and child.name.endswith(SUFFIXES):
            yield "", _Listing(manifests=((child.name, child.oid),), size=len(child.name))
        else:
            yield "", _Listing()
