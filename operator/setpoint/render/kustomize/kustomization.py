"""Finds the files and folders that a kustomization refers to, and what it may not contain (pure).

Its fields are those of `types`. kustomize gets what was read here, written anew, so that the two cannot read one file
differently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from posixpath import basename
from typing import Any, Final

from setpoint.api.budgets import DEFAULTS, Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.objects import documents
from setpoint.render.kustomize.keys import KeyProblem, Place, canonical, line_of, text_of

NAMES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""The names of a kustomization file; kustomize refuses a folder with more than one."""

_CHARTS: Final = ("helmCharts", "helmChartInflationGenerator")
_REMOTE: Final = re.compile(
    r"^[a-z][a-z0-9+.-]*::|://|^[\w.-]+@[\w.-]+:|[?&](ref|version)=|\.git(/|$)|^(github\.com|gitlab\.com|bitbucket\.org|gh:)",
    re.IGNORECASE,
)


class Kind(Enum):
    """What a reference may lead to."""

    FILE = auto()
    FOLDER = auto()
    EITHER = auto()
    INLINE = auto()
    """A file or a folder, or the content itself."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One path in a kustomization; `field` says where it stands, for people, and `place` for the program.

    `key`: the name that a generator gives to the file, where it takes it from here; `named`: it is written out.
    """

    kind: Kind
    field: str
    text: str
    place: Place = ()
    key: str = ""
    named: bool = False

    def moved(self, path: str) -> str:
        """Return what stands in place of the text when the file is read from another path."""
        wanted = self.named or (self.key and self.key != path.rpartition("/")[2])
        return f"{self.key}={path}" if wanted else path


@dataclass(frozen=True, slots=True)
class Kustomization:
    """A kustomization file: what it says, in the one form that is given to kustomize, and what it refers to.

    `plugins`: whether it configures generators, transformers or validators, whose files may refer to others in its
    folder.
    """

    content: dict[str, Any]
    text: bytes
    references: tuple[Reference, ...]
    plugins: bool

    @property
    def component(self) -> bool:
        """Whether it is a Component, which is nothing by itself."""
        return self.content.get("kind") == "Component"

    def moved(self, paths: Mapping[Reference, str]) -> bytes:
        """Return its text with other paths in the places of some references."""
        if not paths:
            return self.text
        return text_of(_with(self.content, {r.place: r.moved(path) for r, path in paths.items()}, 0))


def parse(data: bytes, file: str, budgets: Budgets = DEFAULTS) -> Kustomization:
    """Read a kustomization file; `file` is its path for messages. Raises Problem: RenderFailed or TooLarge."""
    first = next(iter(documents.parse(data, file, budgets, ended=False)), None)
    value = first.value if first else None
    if not isinstance(value, dict) or not value:
        raise Problem(Reason.RenderFailed, f"{file}: the kustomization is empty or not a mapping")
    try:
        given: dict[str, Any] = canonical(value)
        text = text_of(given)
    except KeyProblem as problem:
        raise Problem(Reason.RenderFailed, f"{file}:{line_of(data, problem.place)}: {problem}") from None
    for name in _CHARTS:
        if given.get(name):
            raise Problem(
                Reason.RenderFailed,
                f"{file}: {name} inflates Helm charts, which is not supported; put the rendered manifests there instead",
            )
    return Kustomization(
        given,
        text,
        tuple(ref for name, value in given.items() for ref in _references(name, value, file, budgets)),
        any(given.get(name) for name in _PLUGINS),
    )


def remote(text: str) -> bool:
    """Return whether a path that is not in the repository means something on the network."""
    return bool(_REMOTE.search(text))


def is_url(text: str) -> bool:
    """Return whether kustomize fetches a path from a web server, whatever the repository has."""
    return text.lower().startswith(("http:", "https:"))


def shown(text: str) -> str:
    """Return a reference for a message: without credentials and query, one line."""
    return re.sub(r"//[^/@\s]*@", "//", text).split("?")[0].split("\n")[0][:200]


def inline(text: str, where: str, budgets: Budgets) -> list[dict[str, Any]]:
    """Return the objects that a text is, where a path could stand; nothing if it is none. Problem(TooLarge)."""
    try:
        values = [parsed.value for parsed in documents.parse(text.encode("utf-8", "replace"), where, budgets)]
    except Problem as problem:
        if problem.reason is Reason.TooLarge:
            raise
        return []
    return [value for value in values if isinstance(value, dict)]


def check_plugin(config: dict[str, Any], where: str) -> None:
    """Refuse the configuration of a generator, transformer or validator that is not built into kustomize."""
    for each in _listed(config):
        if each.get("apiVersion") != "builtin":
            raise Problem(
                Reason.RenderFailed,
                f"{where}: {each.get('kind', 'it')} is a kustomize plugin; only those built into kustomize "
                "(apiVersion: builtin) are run",
            )
        if each.get("kind") == "HelmChartInflationGenerator":
            raise Problem(Reason.RenderFailed, f"{where}: inflating Helm charts is not supported")


def _listed(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the objects that a list holds, lists in it too, as kustomize does; else the object itself."""
    left, seen = [config], set[int]()
    while left:
        each = left.pop()
        kind, items = each.get("kind"), each.get("items", each)
        if not (isinstance(kind, str) and kind.endswith("List") and items is not each):
            yield each
        elif isinstance(items, list) and id(items) not in seen:
            # Aliases can make few lists stand for many.
            seen.add(id(items))
            left += [item for item in items if isinstance(item, dict)]


def _with(value: Any, new: Mapping[Place, Any], depth: int) -> Any:
    """Return a copy of the value with something else at some places; what is around them is copied once, no more.

    `depth`: how many steps of the places led here.
    """
    if not new:
        return value
    by_step: dict[str | int, dict[Place, Any]] = {}
    for place, text in new.items():
        if len(place) == depth:
            return text
        by_step.setdefault(place[depth], {})[place] = text
    nothing: dict[Place, Any] = {}
    if isinstance(value, list):
        return [_with(each, by_step.get(at, nothing), depth + 1) for at, each in enumerate(value)]
    return {key: _with(each, by_step.get(key, nothing), depth + 1) for key, each in value.items()}


def _paths(kind: Kind) -> Callable[[str, Any], Iterator[Reference]]:
    def find(field: str, value: Any) -> Iterator[Reference]:
        for number, text in enumerate(value) if isinstance(value, list) else ():
            if isinstance(text, str) and text:
                yield Reference(kind, field, text, (field, number))

    return find


def _paths_of_items(field: str, value: Any) -> Iterator[Reference]:
    """Find `path` in a list of mappings."""
    for number, each in enumerate(value) if isinstance(value, list) else ():
        yield from _path_of(field, each, (field, number))


def _path_of(field: str, value: Any, place: Place = ()) -> Iterator[Reference]:
    found = value.get("path") if isinstance(value, dict) else None
    if isinstance(found, str) and found:
        yield Reference(Kind.FILE, f"{field}.path", found, (*(place or (field,)), "path"))


def _sources(field: str, value: Any) -> Iterator[Reference]:
    """Find the files of configMapGenerator and secretGenerator; one may be written `key=path`."""
    for number, each in enumerate(value) if isinstance(value, list) else ():
        for name in ("files", "envs", "env") if isinstance(each, dict) else ():
            found, place = each.get(name), (field, number, name)
            texts = enumerate(found) if isinstance(found, list) else ()
            for at, text in [(place, found), *(((*place, n), text) for n, text in texts)]:
                if isinstance(text, str) and text:
                    yield from _source(f"{field}.{name}", text, at)


def _source(field: str, text: str, place: Place) -> Iterator[Reference]:
    if not field.endswith(".files"):
        yield Reference(Kind.FILE, field, text, place)
        return
    key, separator, path = text.rpartition("=")
    if separator and "=" not in key and key and path:
        yield Reference(Kind.FILE, field, path, place, key, named=True)
    elif not separator:
        yield Reference(Kind.FILE, field, text, place, basename(text.rstrip("/")))


_FIELDS: Final[Mapping[str, Callable[[str, Any], Iterator[Reference]]]] = {
    "resources": _paths(Kind.EITHER),
    "bases": _paths(Kind.EITHER),  # kustomize moves them to resources
    "components": _paths(Kind.FOLDER),
    "configurations": _paths(Kind.FILE),
    "crds": _paths(Kind.FILE),
    "patchesStrategicMerge": _paths(Kind.INLINE),
    "generators": _paths(Kind.INLINE),
    "transformers": _paths(Kind.INLINE),
    "validators": _paths(Kind.INLINE),
    "patches": _paths_of_items,
    "patchesJson6902": _paths_of_items,
    "replacements": _paths_of_items,
    "openapi": _path_of,
    "configMapGenerator": _sources,
    "secretGenerator": _sources,
}
_PLUGINS: Final = ("generators", "transformers", "validators")


def _references(name: str, value: Any, file: str, budgets: Budgets) -> Iterator[Reference]:
    find = _FIELDS.get(name)
    for reference in find(name, value) if find and value else ():
        for config in inline(reference.text, file, budgets) if name in _PLUGINS else ():
            check_plugin(config, f"{file}: {name}")
        yield reference
