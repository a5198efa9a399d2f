"""`python -m setpoint render`: prints what the operator would make of a local folder (shell).

In: a folder, and optionally a file with a Sync. With a Sync, the folder is the root of the repository, and
`spec.path`, `exclude`, `kustomize` and `targetNamespace` apply. Out: the manifests on stdout, notes and errors
on stderr, and an exit code of `cli.parser`. It sends no request to a cluster.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, TextIO

import orjson
from pydantic import ValidationError

from setpoint.api.budgets import Budgets
from setpoint.api.reasons import Problem
from setpoint.api.resources import Sync
from setpoint.api.sync import SourceReference, SyncSpec
from setpoint.cli import parser as cli
from setpoint.fences.policy import LIBRARIES, Policy
from setpoint.objects import documents
from setpoint.objects.identity import group_of
from setpoint.objects.yaml_dump import dump
from setpoint.plan import desired
from setpoint.render import inputs
from setpoint.render.program import LIMITS, Program
from setpoint.render.renderer import Rendered, Renderer
from setpoint.settings import from_environ
from setpoint.tree.local import LocalTree

_CLUSTER: Final = {
    "": "Namespace Node PersistentVolume",
    "admissionregistration.k8s.io": "*",
    "apiextensions.k8s.io": "*",
    "apiregistration.k8s.io": "*",
    "certificates.k8s.io": "CertificateSigningRequest ClusterTrustBundle",
    "flowcontrol.apiserver.k8s.io": "*",
    "networking.k8s.io": "IngressClass IPAddress ServiceCIDR",
    "node.k8s.io": "*",
    "rbac.authorization.k8s.io": "ClusterRole ClusterRoleBinding",
    "resource.k8s.io": "DeviceClass ResourceSlice DeviceTaintRule",
    "scheduling.k8s.io": "PriorityClass",
    "storage.k8s.io": "CSIDriver CSINode StorageClass VolumeAttachment VolumeAttributesClass",
}
"""Kinds of built-in groups that have no namespace (`kubectl api-resources --namespaced=false`); `*`: all."""
_NAMESPACED: Final = (
    "apps",
    "autoscaling",
    "batch",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "policy",
)
"""Built-in groups all of whose kinds have one."""


class _UsageError(Exception):
    """An argument that cannot be used; the text is for people."""


def run(
    directory: str,
    sync_file: str | None,
    output: str,
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
    kustomize: str | None = None,
) -> int:
    """Print the manifests of a folder as `output` (yaml or json); returns the exit code.

    `kustomize`: the program; else $SETPOINT_KUSTOMIZE, else `kustomize` on PATH, and only if it is needed.
    """
    out, err = stdout or sys.stdout, stderr or sys.stderr
    program = kustomize or os.environ.get("SETPOINT_KUSTOMIZE") or "kustomize"
    try:
        folder, spec = _arguments(directory, sync_file)
        budgets = from_environ(os.environ).budgets
        rendered = asyncio.run(_render(folder, spec, Path(program), budgets, places=output == "yaml"))
    except _UsageError as error:
        err.write(f"error: {error}\n")
        return cli.USAGE
    except Problem as problem:
        err.write(f"{problem.reason}: {problem}\n")
        return cli.FAILED
    objects, notes = _placed(rendered, spec)
    err.writelines(f"note: {note}\n" for note in notes)
    out.write(_json(objects) if output == "json" else "".join(_yaml(objects)))
    return cli.OK


def _arguments(directory: str, sync_file: str | None) -> tuple[Path, SyncSpec]:
    folder = Path(directory)
    if not folder.is_dir():
        raise _UsageError(f"{directory} is not a folder")
    if sync_file is None:
        return folder, SyncSpec(source=SourceReference(name="local"))
    try:
        data = Path(sync_file).read_bytes()
    except OSError as error:
        raise _UsageError(f"{sync_file} cannot be read: {error.strerror}") from None
    return folder, _sync(data, sync_file).spec


def _sync(data: bytes, file: str) -> Sync:
    """Find the one Sync of a file; other objects, such as its Source, may stand beside it."""
    try:
        found = [each for each in documents.load(data, file) if each.manifest["kind"] == "Sync"]
        if len(found) != 1:
            raise _UsageError(f"{file} holds {len(found)} Syncs; it must hold one")
        return Sync.model_validate(found[0].manifest)
    except Problem as problem:
        raise _UsageError(str(problem)) from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _UsageError(f"{found[0].where}: {where}: {first['msg']}") from None


async def _render(
    folder: Path, spec: SyncSpec, kustomize: Path, budgets: Budgets, *, places: bool
) -> Rendered:
    tree = LocalTree(folder)
    found = await asyncio.to_thread(inputs.gather, tree, spec, budgets)
    with tempfile.TemporaryDirectory(prefix="setpoint-") as work:
        # The repository is one's own, and so is the machine: it may lack Landlock, and link kustomize dynamically.
        policy = Policy(required=False, libraries=LIBRARIES)
        limits = replace(LIMITS, output=budgets.max_render_size)
        renderer = Renderer(Program(kustomize, limits, policy), Path(work), budgets=budgets)
        try:
            return await (renderer.placed if places else renderer.render)(tree, spec, found)
        finally:
            renderer.close()


def _placed(rendered: Rendered, spec: SyncSpec) -> tuple[list[documents.Document], list[str]]:
    """Fill targetNamespace in where the kind is known to have one; returns the objects, and notes for people."""
    count = "1 document" if rendered.skipped == 1 else f"{rendered.skipped} documents"
    verb = "was" if rendered.skipped == 1 else "were"
    notes = [f"{count} without apiVersion and kind {verb} skipped"] if rendered.skipped else []
    notes += rendered.twice
    if spec.target_namespace is None:
        return list(rendered.objects), notes
    scopes = desired.crd_scopes(desired.Rendered(each.manifest, each.where) for each in rendered.objects)
    objects: list[documents.Document] = []
    unknown: set[str] = set()
    for each in rendered.objects:
        group, kind = group_of(each.manifest["apiVersion"]), each.manifest["kind"]
        namespaced = scopes.get((group, kind), _namespaced(group, kind))
        if namespaced is None and not each.manifest["metadata"].get("namespace"):
            unknown.add(f"{kind} ({group})")
        objects.append(_filled(each, spec.target_namespace) if namespaced else each)
    if unknown:
        kinds = ", ".join(sorted(unknown))
        notes.append(f"only the cluster knows whether these have a namespace, so none was filled in: {kinds}")
    return objects, notes


def _namespaced(group: str, kind: str) -> bool | None:
    """Return whether a built-in kind has a namespace; None for custom ones."""
    if group in _NAMESPACED:
        return True
    if group not in _CLUSTER:
        return None
    return _CLUSTER[group] != "*" and kind not in _CLUSTER[group].split()


def _filled(document: documents.Document, namespace: str) -> documents.Document:
    meta = document.manifest["metadata"]
    if meta.get("namespace"):
        return document
    manifest = {**document.manifest, "metadata": {**meta, "namespace": namespace}}
    return documents.Document(manifest, document.file, document.index, document.line)


def _json(objects: Iterable[documents.Document]) -> str:
    made = {"apiVersion": "v1", "kind": "List", "items": [each.manifest for each in objects]}
    return orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _yaml(objects: Iterable[documents.Document]) -> Iterator[str]:
    for each in objects:
        where = " ".join(each.where.splitlines())
        yield f"---\n# {where}\n{dump(each.manifest)}"
