"""Decides who owns an existing object, and whether it may be adopted (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from setpoint.api import names
from setpoint.api.reasons import Reason
from setpoint.objects.identity import ObjectId, SyncKey, owner_of
from setpoint.plan.change import Action, Change
from setpoint.plan.desired import Desired

FOREIGN_MARKS: tuple[tuple[str, str, str | None], ...] = (
    ("Helm", "labels:app.kubernetes.io/managed-by", "Helm"),
    ("Helm", "annotations:meta.helm.sh/release-name", None),
    ("Flux", "labels:kustomize.toolkit.fluxcd.io/name", None),
    ("Flux", "labels:helm.toolkit.fluxcd.io/name", None),
    ("Argo CD", "annotations:argocd.argoproj.io/tracking-id", None),
    ("Argo CD", "labels:argocd.argoproj.io/instance", None),
)
TAKEOVER_MANAGERS = frozenset(
    {
        "helm",
        "kustomize-controller",
        "helm-controller",
        "argocd-controller",
        "argocd-application-controller",
        "before-first-apply",
    }
)


def foreign_tool(live: Mapping[str, Any], manifest: Mapping[str, Any]) -> str | None:
    """Name the tool whose marks a live object carries, unless the manifest itself sets them."""
    for tool, where, wanted in FOREIGN_MARKS:
        part, _, key = where.partition(":")
        value = (live["metadata"].get(part) or {}).get(key)
        theirs = (manifest["metadata"].get(part) or {}).get(key)
        if value is not None and wanted in (None, value) and theirs != value:
            return tool
    return None


def may_take(live: Mapping[str, Any], d: Desired, me: SyncKey, claimed: SyncKey | None) -> Change | None:
    """Decide whether an existing object may be written: None if so, else the refusal.

    `claimed` is whose inventory has it. Another Sync's is contested; ours, nobody's, a copy, or left by a Sync
    that let go or is gone may be taken. Helm's, Flux's or Argo CD's: only when annotated `setpoint.dev/adopt: "true"`.
    """
    annotations = live["metadata"].get("annotations") or {}
    if claimed is not None and claimed != me:
        return Change(d.id, Action.REFUSE, Reason.Contested, f"{d.id.label()} belongs to Sync {claimed}")
    if owner_of(annotations, d.id) == me:
        return None
    wish = (d.manifest["metadata"].get("annotations") or {}).get(names.ANNOTATION_ADOPT)
    if "true" in (annotations.get(names.ANNOTATION_ADOPT), wish):
        return None
    if tool := foreign_tool(live, d.manifest):
        text = f'{d.where}: {d.id.label()} belongs to {tool}; annotate it {names.ANNOTATION_ADOPT}: "true" to take it over'
        return Change(d.id, Action.REFUSE, Reason.Foreign, text)
    return None


def is_ours(live: Mapping[str, Any], oid: ObjectId, me: SyncKey) -> bool:
    """Return whether a live object is this Sync's, by its self-naming annotation."""
    return owner_of(live["metadata"].get("annotations") or {}, oid) == me
