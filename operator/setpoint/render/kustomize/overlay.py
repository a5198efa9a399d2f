"""Writes the kustomizations of Setpoint itself: the Sync's overlay, and notes on where objects come from (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from posixpath import normpath
from typing import Any, Final

from setpoint.api.sync import SyncSpec
from setpoint.objects import documents
from setpoint.objects.identity import Manifest
from setpoint.tree.paths import join

_ORIGIN: Final = "config.kubernetes.io/origin"
_ORIGINS: Final = "originAnnotations"
_NOTES: Final = (_ORIGIN, "alpha.config.kubernetes.io/transformations")
_PATH: Final = re.compile(r"^([- ]*(?:path|configuredIn): )(.+)$", re.MULTILINE)


def wanted(spec: SyncSpec, namespace: str | None) -> bool:
    """Return whether anything is laid over what the path holds."""
    return bool(namespace) or bool(spec.kustomize and spec.kustomize.model_dump(exclude_defaults=True))


def kustomization(
    spec: SyncSpec,
    namespace: str | None,
    resources: Sequence[str],
    base: str,
    below: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the overlay over `resources` (paths from where it lies).

    `base`: the path of spec.path from there, which components are relative to. `below`: the kustomization that
    it is laid over, whose build options only the topmost kustomization can set.
    """
    under = below or {}
    made: dict[str, Any] = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(resources),
        **({"buildMetadata": metadata} if (metadata := _metadata(under)) else {}),
        **({"namespace": namespace} if namespace else {}),
        **({"sortOptions": under["sortOptions"]} if under.get("sortOptions") else {}),
    }
    if spec.kustomize is None:
        return made
    given = spec.kustomize.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    components = given.pop("components", ())
    labels = given.pop("commonLabels", None)
    if components:
        made["components"] = [f"{base}/{text}" for text in components]
    if labels:
        # Not kustomize's commonLabels: those change selectors, which are immutable.
        made["labels"] = [{"pairs": labels}]
    return {**made, **given}


def with_origins(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a kustomization that notes on every object where it comes from."""
    return {**content, "buildMetadata": sorted({_ORIGINS, *_metadata(content)})}


def notes_wanted(content: Mapping[str, Any] | None) -> bool:
    """Return whether a kustomization asks for the notes itself, so that they stay."""
    return _ORIGINS in _metadata(content or {})


def _metadata(content: Mapping[str, Any]) -> list[str]:
    """Return what a kustomization has noted on what it builds; what is no list of texts kustomize refuses itself."""
    given = content.get("buildMetadata")
    return [each for each in given if isinstance(each, str)] if isinstance(given, list) else []


def split_origin(manifest: Manifest, folder: str, *, keep: bool) -> tuple[Manifest, str | None]:
    """Take the note off a manifest; returns the manifest, and the path in the note resolved from `folder`."""
    meta = manifest["metadata"]
    annotations = meta.get("annotations") or {}
    note = annotations.get(_ORIGIN)
    if note is None:
        return manifest, None
    place = _place(note, folder)
    if keep:
        return manifest, place
    others = {name: text for name, text in annotations.items() if name != _ORIGIN}
    cleaned = {name: value for name, value in meta.items() if name != "annotations"}
    if others:
        cleaned["annotations"] = others
    return {**manifest, "metadata": cleaned}, place


def with_true_paths(manifest: Manifest, true: Callable[[str], str]) -> Manifest:
    """Return a manifest with other paths in its notes; the rest of each note stays as kustomize wrote it."""
    meta = manifest["metadata"]
    annotations = meta.get("annotations") or {}
    notes = {name: text for name in _NOTES if isinstance(text := annotations.get(name), str)}
    changed = {
        name: _PATH.sub(lambda found: f"{found[1]}{true(found[2])}", text) for name, text in notes.items()
    }
    return (
        {**manifest, "metadata": {**meta, "annotations": {**annotations, **changed}}} if changed else manifest
    )


def _place(note: str, folder: str) -> str | None:
    value = next(documents.parse(note.encode(), _ORIGIN)).value
    path = value.get("path") or value.get("configuredIn") if isinstance(value, dict) else None
    return normpath(join(folder, path)) if isinstance(path, str) else None
