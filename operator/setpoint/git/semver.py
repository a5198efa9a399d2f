"""Versions and ranges as npm and Masterminds/semver read them (pure).

In: tags (`v1.4.0`, `1.4.0-rc.1+build`) and ranges (`^1.2`, `>=1.0 <2.0 || 3.x`, `1.2 - 1.4`).
Out: `Version` values that sort by SemVer 2.0.0 precedence, and `Range.admits`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import total_ordering

from setpoint.api.reasons import Problem, Reason

_NUMBER = r"(?:0|[1-9][0-9]{0,17})"
_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(
    rf"v?({_NUMBER})\.({_NUMBER})\.({_NUMBER})(?:-({_IDENTIFIERS}))?(?:\+({_IDENTIFIERS}))?"
)
_PART = rf"(?:{_NUMBER}|[xX*])"
_PARTIAL = rf"v?{_PART}(?:\.{_PART})?(?:\.{_PART})?(?:-{_IDENTIFIERS})?(?:\+{_IDENTIFIERS})?"
_COMPARATOR = re.compile(rf"\s*(?P<op>=>|=<|[<>!]=|~>|[=<>^~]|)\s*(?P<version>{_PARTIAL})(?:\s*,\s*|\s+|$)")
_HYPHEN = re.compile(rf"\s*({_PARTIAL})\s+-\s+({_PARTIAL})\s*")
_FIELDS = re.compile(
    rf"v?(?P<major>{_PART})(?:\.(?P<minor>{_PART}))?(?:\.(?P<patch>{_PART}))?(?:-(?P<pre>{_IDENTIFIERS}))?.*"
)
_LOWEST = ("0",)  # the lowest prerelease there is: `2.0.0-0` is below every 2.0.0-anything


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """Three numbers and the identifiers of a prerelease; build metadata has no part in precedence."""

    major: int
    minor: int
    patch: int
    prerelease: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[int, int, int, bool, tuple[tuple[bool, int, str], ...]]:
        """Return what orders versions: SemVer 2.0.0, section 11."""
        identifiers = tuple((not i.isdigit(), int(i) if i.isdigit() else 0, i) for i in self.prerelease)
        return self.major, self.minor, self.patch, not self.prerelease, identifiers

    def __lt__(self, other: Version) -> bool:
        """Order by precedence."""
        return self.key < other.key


Test = Callable[[Version], bool]


@dataclass(frozen=True, slots=True)
class Comparators:
    """Tests that must all pass; prereleases pass only where one of them was written with a prerelease."""

    tests: tuple[Test, ...]
    prereleases: bool

    def admit(self, version: Version) -> bool:
        """Return whether the version passes."""
        return (self.prereleases or not version.prerelease) and all(test(version) for test in self.tests)


@dataclass(frozen=True, slots=True)
class Range:
    """Alternatives, of which one must admit a version."""

    alternatives: tuple[Comparators, ...]

    def admits(self, version: Version) -> bool:
        """Return whether the version lies in the range."""
        return any(each.admit(version) for each in self.alternatives)


def parse_version(tag: str) -> Version | None:
    """Read a tag as a full version, with or without a leading v; None if it is none."""
    match = _VERSION.fullmatch(tag)
    if match is None:
        return None
    major, minor, patch, prerelease, _build = match.groups()
    return Version(int(major), int(minor), int(patch), tuple(prerelease.split(".")) if prerelease else ())


def parse_range(text: str) -> Range:
    """Read a range; Problem(InvalidSpec) says which part cannot be read."""
    return Range(tuple(_comparators(part, text) for part in text.split("||")))


def highest(text: str, tags: Iterable[str]) -> str | None:
    """Return the tag of the highest version in the range `text`, or None; Problem(InvalidSpec) as `parse_range`.

    Of tags with the same precedence (`v1.0.0`, `1.0.0`, `1.0.0+a`) the last by name, so that the answer is stable.
    """
    wanted = parse_range(text)
    found = ((version, tag) for tag in tags if (version := parse_version(tag)) and wanted.admits(version))
    return max(found, key=lambda pair: (pair[0].key, pair[1]), default=(None, None))[1]


def _comparators(part: str, whole: str) -> Comparators:
    prereleases = any(_partial(v).prerelease for v in re.findall(_PARTIAL, part))
    if hyphen := _HYPHEN.fullmatch(part):
        tests: tuple[Test, ...] = (_between(">=", hyphen[1]), _between("<=", hyphen[2]))
    else:
        tests = tuple(_between(op, version) for op, version in _split(part.strip() or "*", whole))
    return Comparators(tests, prereleases)


def _split(part: str, whole: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(part):
        match = _COMPARATOR.match(part, position)
        if match is None:
            raise Problem(
                Reason.InvalidSpec,
                f"spec.ref.semver: {whole!r} is not a version range (at {part[position:]!r}); write it like >=1.2 <2 or ^1.4",
            )
        position = match.end()
        yield match["op"], match["version"]


@dataclass(frozen=True, slots=True)
class _Partial:
    """A version of which parts may be missing or wild: `numbers` ends before the first such part."""

    numbers: tuple[int, ...]
    prerelease: tuple[str, ...]

    @property
    def low(self) -> Version:
        """Return the lowest version that fits."""
        major, minor, patch = (*self.numbers, 0, 0, 0)[:3]
        return Version(major, minor, patch, self.prerelease)

    def after(self, index: int) -> Version:
        """Return what comes after all versions that share the numbers up to and with `index`."""
        major, minor, patch = (*self.numbers[:index], self.numbers[index] + 1, 0, 0)[:3]
        return Version(major, minor, patch, _LOWEST)


def _partial(text: str) -> _Partial:
    match = _FIELDS.fullmatch(text)
    assert match is not None, text  # noqa: S101 - only called with what _PARTIAL matched
    numbers: list[int] = []
    for part in (match["major"], match["minor"], match["patch"]):
        if part is None or not part.isdigit():
            break
        numbers.append(int(part))
    return _Partial(
        tuple(numbers), tuple(match["pre"].split(".")) if match["pre"] and len(numbers) == 3 else ()
    )


def _between(op: str, text: str) -> Test:
    """Return the test of one comparator; partial versions mean what they mean to npm."""
    partial = _partial(text)
    if not partial.numbers:
        return _never if op in ("<", ">", "!=") else _always
    low, end = partial.low, _end(op, partial)
    match op:
        case ">":
            return (lambda v: v > low) if len(partial.numbers) == 3 else (lambda v: v >= end)
        case ">=" | "=>":
            return lambda v: v >= low
        case "<":
            return lambda v: v < low
        case "<=" | "=<":
            return (lambda v: v <= low) if len(partial.numbers) == 3 else (lambda v: v < end)
        case "!=":
            return lambda v: not low <= v < end
        case _:
            return lambda v: low <= v < end


def _end(op: str, partial: _Partial) -> Version:
    """Return the exclusive upper bound of what a caret, a tilde or a bare version admits."""
    numbers, low = partial.numbers, partial.low
    if op == "^":
        first = next((i for i, n in enumerate(numbers) if n), len(numbers) - 1)
        return partial.after(first)
    if op in ("~", "~>"):
        return partial.after(min(1, len(numbers) - 1))
    if partial.prerelease:  # an exact version: nothing lies between it and its end
        return Version(low.major, low.minor, low.patch, (*low.prerelease, "0"))
    return partial.after(len(numbers) - 1)


def _always(_version: Version) -> bool:
    return True


def _never(_version: Version) -> bool:
    return False
