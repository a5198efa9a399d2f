"""The versions of Kubernetes that tests run against: which module family has their servers, and what those lack.

`SETPOINT_TEST_KUBERNETES` chooses an older one. A test that needs what one lacks says so, and is skipped there:
`@pytest.mark.needs("MutatingAdmissionPolicy")`. It needs Python alone, as `binaries` does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

VARIABLE: Final = "SETPOINT_TEST_KUBERNETES"
NEWEST: Final = "1.36"
FEATURES: Final = {"MutatingAdmissionPolicy": "admissionregistration.k8s.io/v1"}
"""What not all versions have: a kind, and the API version that it has to be served in."""


@dataclass(frozen=True)
class Older:
    """A version that is not the newest: the family of its servers, and the features that they lack."""

    family: str
    lacks: frozenset[str]


OLDER: Final = {"1.31": Older("kubernetes-1.31", frozenset({"MutatingAdmissionPolicy"}))}


def chosen() -> str | None:
    """Return the older version that is asked for; None for the newest. Raises ValueError for an unknown one."""
    version = os.environ.get(VARIABLE)
    if version and version not in OLDER:
        raise ValueError(f"{VARIABLE} is {version!r}; known: {', '.join(OLDER)}")
    return version or None


def lacking(feature: str) -> str | None:
    """Return why a test that needs this feature cannot run; None where it can. Raises ValueError for an unknown one."""
    if feature not in FEATURES:
        raise ValueError(f"unknown feature {feature!r}; known: {', '.join(FEATURES)}")
    version = chosen()
    if version is None or feature not in OLDER[version].lacks:
        return None
    return f"Kubernetes {version} has no {feature} in {FEATURES[feature]}"
