"""Texts that cross the seam are one line, or short, whatever they are made of."""

from __future__ import annotations

import pytest

from setpoint.wall.words import MAX_LINE, MAX_WORDS, fits, line, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("app/a.yaml:1", "app/a.yaml:1"),
        ("a\nb", "a\\nb"),
        ("a\u2028b", "a\\u2028b"),
        ("ä", "ä"),
        ("\udc80", "\\udc80"),
    ],
)
def test_a_line_is_printable(text: str, shown: str) -> None:
    assert line(text) == shown


@pytest.mark.parametrize("each", ["x", "ä", "\n", "\udc80", "😀"])
def test_what_is_too_long_is_cut_off(each: str) -> None:
    for made, limit in ((line(each * 5000), MAX_LINE), (shortened(each * 5000), MAX_WORDS)):
        assert fits(made, limit)
        assert made.endswith("...")
    assert shortened(each) == each
