"""Which Debian packages are in the image is a decision; it is tested without apt."""

from __future__ import annotations

import pytest
from image import debian
from image.debian import Package
from image.layout import ImageError

STANZA = """\
Package: libpython3.11-minimal
Source: python3.11 (3.11.2-6)
Version: 3.11.2-6+deb12u9
Architecture: amd64
Depends: libssl3 (>= 3.0.0), media-types | mime-support, libc6:any (>= 2.35)
Pre-Depends: dpkg (>= 1.13.20)
Description: Minimal subset of the Python language
"""


def package(name: str, *depends: str) -> Package:
    return Package(name, "1", "amd64", tuple(tuple(each.split("|")) for each in depends))


def names(*packages: Package, wanted: str = "a", unwanted: str = "") -> list[str]:
    """Return what the closure of `wanted` holds, when these packages are all there are."""
    known = {each.name: each for each in packages}
    chosen = debian.closure([wanted], lambda asked: {n: known[n] for n in asked if n in known}, {unwanted})
    return [each.name for each in chosen]


def test_a_stanza_of_apt_is_read() -> None:
    read = debian.parse(STANZA)
    assert (read.name, read.version, read.source) == (
        "libpython3.11-minimal",
        "3.11.2-6+deb12u9",
        "python3.11",
    )
    assert read.depends == (("dpkg",), ("libssl3",), ("media-types", "mime-support"), ("libc6",))
    assert read.pinned == "libpython3.11-minimal=3.11.2-6+deb12u9"


@pytest.mark.parametrize(
    ("packages", "expected"),
    [
        pytest.param([package("a")], ["a"], id="alone"),
        pytest.param(
            [package("a", "b"), package("b", "c"), package("c"), package("d")], ["a", "b", "c"], id="chain"
        ),
        pytest.param([package("a", "b"), package("b", "a")], ["a", "b"], id="circle"),
        pytest.param([package("a", "b|c"), package("b"), package("c")], ["a", "b"], id="first-alternative"),
        pytest.param([package("a", "b|c"), package("c")], ["a", "c"], id="the-one-that-exists"),
        pytest.param(
            [package("a", "c", "d"), package("c", "b|d"), package("b"), package("d")],
            ["a", "c", "d"],
            id="one-that-is-there-already",
        ),
    ],
)
def test_dependencies_are_followed(packages: list[Package], expected: list[str]) -> None:
    assert names(*packages) == expected


def test_what_is_unwanted_goes_with_all_that_it_alone_needs() -> None:
    packages = [package("a", "tool", "b"), package("tool", "shell"), package("shell"), package("b")]
    assert names(*packages, unwanted="tool") == ["a", "b"]


def test_a_package_that_apt_does_not_know_is_named() -> None:
    with pytest.raises(ImageError, match="no package b or c"):
        names(package("a", "b|c"))
