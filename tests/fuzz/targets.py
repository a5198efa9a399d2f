"""All targets, by name. Messages between operator and worker have their place here, too."""

from __future__ import annotations

from typing import Any, Final

from tests.fuzz import gitmodules, kustomizations, manifests, patterns
from tests.fuzz.target import Target

TARGETS: Final[dict[str, Target[Any]]] = {
    each.TARGET.name: each.TARGET for each in (kustomizations, manifests, patterns, gitmodules)
}
