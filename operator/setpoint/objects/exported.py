"""What `kubectl get -o yaml` writes beside what a person wrote: fields that the API server owns (pure).

Sent with an apply they are refused (managedFields), taken for a condition that no longer holds (uid, resourceVersion),
or ignored. None of them can be what a commit means.
"""

from __future__ import annotations

from typing import Any, Final

from setpoint.objects.identity import Manifest

SERVERS: Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
)
"""Fields of metadata."""


def without_server_fields(manifest: Manifest, *, has_status: bool) -> tuple[Manifest, tuple[str, ...]]:
    """Return a manifest without what the API server owns, and the paths of those fields that said something.

    `has_status`: whether the kind has a status subresource, so that an apply of the object never writes its status. Empty
    ones, as `kubectl create --dry-run` and controller-gen write them, go without a word.
    """
    meta = manifest["metadata"]
    metadata = [key for key in SERVERS if key in meta]
    status = has_status and "status" in manifest
    if not metadata and not status:
        return manifest, ()
    said = [f"metadata.{key}" for key in metadata if not is_empty(meta[key])]
    said += ["status"] if status and not is_empty(manifest["status"]) else []
    kept = {k: v for k, v in manifest.items() if not (status and k == "status")}
    return {**kept, "metadata": {k: v for k, v in meta.items() if k not in SERVERS}}, tuple(said)


def is_empty(value: Any) -> bool:
    """Return whether a value says nothing: null, zero, "", and lists and maps of nothing else."""
    if isinstance(value, dict):
        return all(is_empty(v) for v in value.values())
    if isinstance(value, list):
        return all(is_empty(v) for v in value)
    return not value
