"""docs/architecture.md names what there is."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from setpoint.codegen import architecture

PAGE = (Path(__file__).resolve().parents[3] / "docs/architecture.md").read_text()
STORIES = re.split(
    r"^### ", PAGE.partition("## Four stories")[2].partition("## Packages")[0], flags=re.MULTILINE
)[1:]
NAMED = re.compile(r"`([a-z_]+(?:\.\w+)+)`")


def found(name: str) -> object:
    """Return what a dotted name below setpoint stands for."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            here: object = importlib.import_module("setpoint." + ".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            here = getattr(here, part)
        return here
    raise LookupError(name)


@pytest.mark.parametrize("name", sorted(set(NAMED.findall("".join(STORIES)))))
def test_what_a_story_names_is_a_function(name: str) -> None:
    assert callable(found(name))


def test_each_story_names_functions_of_several_packages() -> None:
    assert len(STORIES) == 4
    for story in STORIES:
        assert len({name.partition(".")[0] for name in NAMED.findall(story)}) >= 3, story.partition("\n")[0]


def test_every_package_is_on_the_page_with_a_paragraph() -> None:
    for name in architecture.packages():
        text = PAGE.partition(f"### {name}\n\n")[2].partition("\n\n|")[0]
        assert len(text) > 40, name


def test_a_page_without_markers_gets_them() -> None:
    assert architecture.page("").startswith("# Architecture\n\n" + architecture.BEGIN)
    text = f"# A\n\n{architecture.BEGIN}what was before\n{architecture.END}\n\nAfter.\n"
    assert architecture.page(text).endswith("\n\nAfter.\n")
    assert "what was before" not in architecture.page(text)
