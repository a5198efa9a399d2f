"""The budgets of content: how much of what a tenant wrote is read, and what is said of more (pure).

Each figure is a setting of the same name. Whoever counts compares while it counts, so that what is too large is never
read, unpacked or built whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from setpoint.api.reasons import Problem, Reason

MIB: Final = 2**20
MAX_PATH: Final = 4_096
"""Bytes of a path, as on Linux; a longer one names nothing that could be checked out."""

Budget = Literal[
    "max_file_size",
    "max_folder_entries",
    "max_files",
    "max_input_size",
    "max_depth",
    "max_links",
    "max_yaml_values",
    "max_objects",
    "max_object_size",
    "max_render_size",
    "max_patterns",
    "max_patterns_size",
    "max_fetch_size",
    "max_fetch_unpacked",
    "max_fetch_objects",
    "max_submodules",
    "max_diff",
    "max_read_set",
]

_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "max_file_size": ("bytes in one file", "leave it out of what the Sync reads, or split it"),
    "max_folder_entries": ("files and folders in one folder", "spread them over several folders"),
    "max_files": ("files", "let spec.path name a smaller folder, or make several Syncs of it"),
    "max_input_size": ("bytes of files", "let spec.path name a smaller folder, or make several Syncs of it"),
    "max_depth": ("levels of nesting", "nest less deeply"),
    "max_links": ("symlinks to folders", "list some of them in spec.exclude, or make several Syncs of it"),
    "max_yaml_values": ("values in YAML or JSON, aliases resolved", "make several Syncs of it"),
    "max_objects": ("objects", "make several Syncs of it"),
    "max_object_size": ("bytes in one object", "split it"),
    "max_render_size": ("bytes of manifests", "make several Syncs of it"),
    "max_patterns": ("patterns in spec.exclude", "leave out whole folders instead of files"),
    "max_patterns_size": ("characters in spec.exclude", "leave out whole folders instead of files"),
    "max_fetch_size": ("bytes in one fetch", "use a smaller repository, or take large files out of it"),
    "max_fetch_unpacked": (
        "bytes unpacked in one fetch",
        "use a smaller repository, or take large files out of it",
    ),
    "max_fetch_objects": ("objects in one fetch", "use a smaller repository"),
    "max_submodules": ("submodules", "use fewer of them"),
}


@dataclass(frozen=True, slots=True)
class Budgets:
    """How much is read of what a tenant wrote. Sizes are bytes; decision 45 says where the figures are from."""

    max_file_size: int = 16 * MIB
    max_folder_entries: int = 50_000
    max_files: int = 50_000
    max_input_size: int = 64 * MIB
    max_depth: int = 64
    max_links: int = 1_000
    max_yaml_values: int = 1_000_000
    max_objects: int = 30_000
    max_object_size: int = 1_572_864
    max_render_size: int = 32 * MIB
    max_patterns: int = 256
    max_patterns_size: int = 16_384
    max_fetch_size: int = 256 * MIB
    max_fetch_unpacked: int = 2_048 * MIB
    max_fetch_objects: int = 2_000_000
    max_submodules: int = 1_000
    max_diff: int = 2_000
    max_read_set: int = 20_000

    def check(self, budget: Budget, figure: int, where: str = "", *, counted: bool = True) -> None:
        """Raise Problem(TooLarge) if a figure is over its budget.

        `where`: the place or thing that has so many, for people. `counted`: whether the figure is whole; else counting
        stopped there, and it may be more.
        """
        if figure > (limit := getattr(self, budget)):
            raise too_large(budget, figure, limit, where, counted=counted)


DEFAULTS: Final = Budgets()


def too_large(budget: Budget, figure: int, limit: int, where: str = "", *, counted: bool = True) -> Problem:
    """Return the Problem of a figure over its limit: both, the setting, and what to do."""
    what, remedy = _WORDS[budget]
    place = f"{where}: " if where else ""
    least = "" if counted else "at least "
    return Problem(
        Reason.TooLarge,
        f"{place}{least}{figure:,} {what}, more than the {limit:,} of {setting(budget)}; {remedy}, or raise the setting",
    )


def setting(budget: str) -> str:
    """Return the name of a budget's setting, as the chart has it."""
    first, *others = budget.split("_")
    return "settings." + first + "".join(each.capitalize() for each in others)
