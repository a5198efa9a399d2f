"""Links between the project's pages lead to a file, and to a heading of it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return what links may name of a page: its headings, as forges write them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings)


def leads_nowhere(page: Path, link: str) -> bool:
    """Return whether a link of a page leads to no file, or to no heading; of other servers nothing is known."""
    if "://" in link:
        return False
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return not target.exists() or bool(anchor and anchor not in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if leads_nowhere(page, link)] == []


def test_a_wrong_link_is_found() -> None:
    page = ROOT / "docs/concepts.md"
    assert not leads_nowhere(page, "operations.md#what-a-tenant-can-take")
    assert not leads_nowhere(page, "#identity-and-rights")
    assert not leads_nowhere(page, "https://example.org/gone")
    assert leads_nowhere(page, "gone.md")
    assert leads_nowhere(page, "operations.md#gone")
    assert leads_nowhere(page, "#gone")
    assert sum(len(LINK.findall(page.read_text(encoding="utf-8"))) for page in PAGES) > 50
