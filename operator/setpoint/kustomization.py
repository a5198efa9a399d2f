"""What a kustomization file refers to (pure): every field that names a file or folder, and what is refused.

The fields are those of kustomize's api/types (v5.8); names match whatever their case, as Go's JSON decoder does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from setpoint import documents
from setpoint.reasons import Problem, Reason

NAMES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""The names of a kustomization file; kustomize refuses a folder with more than one."""

_NO_REFERENCES: Final = (
    "apiVersion",
    "kind",
    "metadata",
    "namePrefix",
    "nameSuffix",
    "namespace",
    "commonLabels",
    "labels",
    "commonAnnotations",
    "images",
    "imageTags",
    "replicas",
    "vars",
    "sortOptions",
    "generatorOptions",
    "buildMetadata",
    "helmGlobals",
)
_CHARTS: Final = ("helmCharts", "helmChartInflationGenerator")
_PLUGIN_NOTES: Final = ("config.kubernetes.io/function", "config.k8s.io/function")
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
    """One path in a kustomization; `field` says where it stands, for people."""

    kind: Kind
    field: str
    text: str


@dataclass(frozen=True, slots=True)
class Kustomization:
    """A kustomization file: what it says, and what it refers to.

    `unknown`: fields that are not known here, which may refer to anything. `plugins`: whether it configures
    generators, transformers or validators, whose files may refer to others in its folder.
    """

    content: dict[str, Any]
    references: tuple[Reference, ...]
    unknown: tuple[str, ...]
    plugins: bool

    @property
    def component(self) -> bool:
        """Whether it is a Component, which is nothing by itself."""
        return self.content.get("kind") == "Component"


def parse(data: bytes, file: str) -> Kustomization:
    """Read a kustomization file; `file` is its path for messages. Raises Problem(RenderFailed)."""
    first = next(iter(documents.parse(data, file)), None)
    content = first.value if first else None
    if not isinstance(content, dict) or not content:
        raise Problem(Reason.RenderFailed, f"{file}: the kustomization is empty or not a mapping")
    given = {_canonical(name): value for name, value in content.items()}
    for name in _CHARTS:
        if given.get(name):
            raise Problem(
                Reason.RenderFailed,
                f"{file}: {name} inflates Helm charts, which is not supported; put the rendered manifests there instead",
            )
    return Kustomization(
        given,
        tuple(ref for name, value in given.items() for ref in _references(name, value, file)),
        tuple(name for name in given if name not in _KNOWN),
        any(given.get(name) for name in _PLUGINS),
    )


def remote(text: str) -> bool:
    """Tell whether a path that is not in the repository means something on the network."""
    return bool(_REMOTE.search(text))


def shown(text: str) -> str:
    """Give a reference for a message: without credentials and query, one line."""
    return re.sub(r"//[^/@\s]*@", "//", text).split("?")[0].split("\n")[0][:200]


def inline(text: str) -> list[dict[str, Any]]:
    """Give the objects that a text is, where a path could stand; nothing if it is none."""
    try:
        values = [parsed.value for parsed in documents.parse(text.encode("utf-8", "replace"), "")]
    except Problem:
        return []
    return [value for value in values if isinstance(value, dict)]


def check_plugin(config: dict[str, Any], where: str) -> None:
    """Refuse the configuration of a generator, transformer or validator that is not built into kustomize."""
    meta = config.get("metadata")
    notes = (meta.get("annotations") or {}) if isinstance(meta, dict) else {}
    if config.get("apiVersion") != "builtin" or any(note in notes for note in _PLUGIN_NOTES):
        raise Problem(
            Reason.RenderFailed,
            f"{where}: {config.get('kind', 'it')} is a kustomize plugin; only those built into kustomize "
            "(apiVersion: builtin) are run",
        )
    if config.get("kind") == "HelmChartInflationGenerator":
        raise Problem(Reason.RenderFailed, f"{where}: inflating Helm charts is not supported")


def _paths(kind: Kind) -> Callable[[str, Any], Iterator[Reference]]:
    def find(field: str, value: Any) -> Iterator[Reference]:
        for text in value if isinstance(value, list) else ():
            if isinstance(text, str) and text:
                yield Reference(kind, field, text)

    return find


def _path_of(field: str, value: Any) -> Iterator[Reference]:
    """Find `path` in a list of mappings, or in one."""
    for each in value if isinstance(value, list) else [value]:
        found = _member(each, "path")
        if isinstance(found, str) and found:
            yield Reference(Kind.FILE, f"{field}.path", found)


def _sources(field: str, value: Any) -> Iterator[Reference]:
    """Find the files of configMapGenerator and secretGenerator; one may be written `key=path`."""
    for each in value if isinstance(value, list) else ():
        for name in ("files", "envs", "env"):
            found = _member(each, name)
            for text in found if isinstance(found, list) else [found]:
                if isinstance(text, str) and (path := text.rpartition("=")[2] if name == "files" else text):
                    yield Reference(Kind.FILE, f"{field}.{name}", path)


_FIELDS: Final = {
    "resources": _paths(Kind.EITHER),
    "bases": _paths(Kind.FOLDER),
    "components": _paths(Kind.FOLDER),
    "configurations": _paths(Kind.FILE),
    "crds": _paths(Kind.FILE),
    "patchesStrategicMerge": _paths(Kind.INLINE),
    "generators": _paths(Kind.INLINE),
    "transformers": _paths(Kind.INLINE),
    "validators": _paths(Kind.INLINE),
    "patches": _path_of,
    "patchesJson6902": _path_of,
    "replacements": _path_of,
    "openapi": _path_of,
    "configMapGenerator": _sources,
    "secretGenerator": _sources,
}
_PLUGINS: Final = ("generators", "transformers", "validators")
_KNOWN: Final = frozenset((*_FIELDS, *_NO_REFERENCES, *_CHARTS))
_BY_LOWER: Final = {name.lower(): name for name in _KNOWN}


def _canonical(name: str) -> str:
    return name if name in _KNOWN else _BY_LOWER.get(name.lower(), name)


def _member(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        return None
    return next((found for key, found in value.items() if key.lower() == name), None)


def _references(name: str, value: Any, file: str) -> Iterator[Reference]:
    find = _FIELDS.get(name)
    for reference in find(name, value) if find and value else ():
        for config in inline(reference.text) if name in _PLUGINS else ():
            check_plugin(config, f"{file}: {name}")
        yield reference
