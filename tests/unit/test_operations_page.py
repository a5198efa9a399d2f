"""docs/operations.md quotes what the operator logs and reports: each quotation is in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
FAULTS = PAGE.partition("## When something around it fails")[2].partition("\n## ")[0]
LOGGED = re.findall(r"\b[Ll]og: `([^`]+)`", PAGE)
WANTED_WORDS = 3


def seen() -> Iterator[str]:
    """Yield the sentences that the table of faults quotes in its second column."""
    for row in FAULTS.splitlines():
        if row.startswith("| "):
            quoted = row.split("|")[2].split("`")[1::2]
            yield from (text for text in quoted if len(text.split()) >= WANTED_WORDS)


def texts() -> Iterator[str]:
    """Yield the strings of the operator's code, docstrings aside; an f-string comes in pieces."""
    for file in sorted((ROOT / "operator").rglob("*.py")):
        nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield node.value


TEXTS = frozenset(texts())


def known(words: str) -> bool:
    """Return whether the code has these words; `%s` in it, and `…` in them, stand for what is filled in."""
    if "…" in words:
        return all(known(piece.strip()) for piece in words.split("…"))
    return any(
        words in text
        or (len(text.split()) >= WANTED_WORDS and re.fullmatch(re.sub("%[sd]", ".+", re.escape(text)), words))
        for text in TEXTS
    )


@pytest.mark.parametrize("words", sorted({*LOGGED, *seen()}))
def test_what_the_page_quotes_is_in_the_code(words: str) -> None:
    assert known(words)


def test_there_is_something_to_look_for() -> None:
    assert len(LOGGED) >= 5
    assert len(set(seen())) >= 6


def test_other_words_are_not_known() -> None:
    assert known("cannot write the status of a Sync; retrying")
    assert not known("cannot write the status of a Sync; waiting")
    assert not known("the lease was mislaid")
