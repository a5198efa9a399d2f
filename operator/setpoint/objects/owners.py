"""`ownerReferences` of manifests: whom the garbage collector looks for (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from setpoint.objects.identity import Manifest


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom an object belongs to; deleted with the last of them, and made anew under another uid."""

    api_version: str
    kind: str
    name: str
    uid: str


def owners_of(manifest: Manifest) -> tuple[Owner, ...]:
    """Return the owners that a manifest names; what is no reference is left for the server to refuse."""
    found = manifest["metadata"].get("ownerReferences")
    owners = (
        Owner(each["apiVersion"], each["kind"], each["name"], each["uid"])
        for each in (found if isinstance(found, list) else ())
        if _is_reference(each)
    )
    return tuple(dict.fromkeys(owners))  # each is read once, however often it is named


def _is_reference(value: Any) -> bool:
    keys = ("apiVersion", "kind", "name", "uid")
    return isinstance(value, dict) and all(value.get(key) and isinstance(value[key], str) for key in keys)


def missing_owner(owner: Owner) -> str:
    """Return in words that an owner is not there."""
    return (
        f"its owner {owner.kind}/{owner.name} with uid {owner.uid} does not exist, so the garbage collector "
        "would delete it; take metadata.ownerReferences out of the manifest"
    )
