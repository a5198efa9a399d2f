"""How strict the fences of the worker's children are. Who starts the worker asks it too, and loads nothing that reads what tenants wrote."""

from __future__ import annotations

from setpoint.fences.policy import Policy
from setpoint.settings import Settings


def fences(settings: Settings) -> Policy:
    """Return how strict the fences of child processes are."""
    return Policy(settings.landlock == "required", settings.render_libraries)
