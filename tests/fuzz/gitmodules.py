"""`.gitmodules`, against `git config --list`: where git takes the file, the URLs of all paths are those that it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.fuzz.target import REFUSED, SAME, Check, Target, differ, shorter, some
from tests.git.test_gitmodules import as_git_reads

from setpoint.git.contents.submodules import submodule_urls

_SIGNS = [
    *"ab/.:@-_~#;\"\\ =[]%!'$&",
    "\t",
    "\r",
    "\x0b",
    "\x0c",
    "\x85",
    "\u00a0",
    "\u2028",
    "\u00e9",
    "\u0131",
    "\ufeff",
    "\x00",
    "\x7f",
    "\udcff",
]
_WORDS = ("submodule", "submodule", "Submodule", "SUBMODULE", "\u017fubmodule", "sub module")
_NAMES = (
    "a",
    "b",
    "c d",
    "e.f",
    'q\\"q',
    "\\\\",
    "g]",
    "# h",
    "",
    "\u00e9",
    "A",
    " ",
    "\\n",
    "\\x",
    "..",
    "a\\\nb",
)
_OTHERS = (
    "[core]",
    "[submodule]",
    "[]",
    "[submodule",
    '[submodule "a"',
    '[ submodule "a"]',
    '[submodule "a" ]',
    "[a.b]",
    '[a.b "c"]',
    "[a_b]",
    "[include]",
    '[includeIf "gitdir:/"]',
    "[submodule.a]",
    "[submodule.A.b]",
    "[submodule.a-b]",
    "[submodule.]",
    "[submodule..]",
    "[submodule.a_b]",
)
_KEYS = (
    "path",
    "url",
    "path",
    "url",
    "Path",
    "URL",
    "branch",
    "p",
    "pa_th",
    "1path",
    "path1",
    "-path",
    "",
    "path ",
)
_EQUALS = (" = ", " = ", "=", " =", "= ", "", " ", "\t=\t", " == ", "=\\\n", "\\\n=", " # = ")
_ENDS = (
    "",
    "",
    "",
    "\\",
    " \\",
    '"',
    ' "x" ',
    " # c \\",
    ";c",
    "  ",
    "\\\n",
    "\\\r",
    "\\t\\n\\b",
    "\\q",
    '\\"',
)


def make(rng: Random) -> bytes:
    """Make sections and variables, sound ones among odd ones, and ends of lines of each kind."""
    lines = some(
        rng, lambda _: rng.choice((_section, _variable, _variable, _sound, _sound, _other))(rng), 0, 9
    )
    start, end = (
        rng.choice(("", "", "", "", "\ufeff", "\ufeff\ufeff", "\n", "\r")),
        rng.choice(("\n", "\n", "\n", "\r\n", "\r", "\n\n")),
    )
    text = start + end.join([*lines, rng.choice(("", "", "\\", " "))])
    if rng.random() < 0.2:
        at = rng.randint(0, len(text))
        text = text[:at] + rng.choice(_SIGNS) + text[at + rng.randint(0, 2) :]
    return text.encode("utf-8", "surrogateescape")


def _section(rng: Random) -> str:
    return f'[{rng.choice(_WORDS)}{rng.choice((" ", " ", chr(9), "  ", "", "."))}"{rng.choice(_NAMES)}"]'


def _variable(rng: Random) -> str:
    start = rng.choice(("", "", "\t", "  ", "\r", "\x0b", "\ufeff"))
    return f"{start}{rng.choice(_KEYS)}{rng.choice(_EQUALS)}{_text(rng)}{rng.choice(_ENDS)}"


def _sound(rng: Random) -> str:
    path = rng.choice(("lib", "lib/", "/lib", '"lib x"', "a b"))
    return f'[submodule "{rng.choice("abc")}"]\n\tpath = {path}\n\turl = {_text(rng)}'


def _other(rng: Random) -> str:
    return rng.choice(
        (rng.choice(_OTHERS), f"{_section(rng)} {_variable(rng)}", "", "# note", "; n \\", "\\", "]")
    )


def _text(rng: Random) -> str:
    return "".join(rng.choice(_SIGNS) for _ in range(rng.choice((0, 1, 2, 3, 5, 12))))


def smaller(data: bytes) -> Iterator[bytes]:
    """Leave out lines, then characters."""
    yield from (
        text.encode("utf-8", "surrogateescape") for text in shorter(data.decode("utf-8", "surrogateescape"))
    )


_BLANKS = str.maketrans("\t\r", "  ")


def _spaced(urls: Mapping[str, str]) -> dict[str, str]:
    """Git before 2.45 makes spaces of tabs and carriage returns inside a value, newer ones and Setpoint keep them."""
    return {path.translate(_BLANKS): url.translate(_BLANKS) for path, url in urls.items()}


@contextmanager
def opened(_: Path) -> Iterator[Check[bytes]]:
    """Yield what compares a file. What git refuses, Setpoint reads as far as it can: such a commit can be checked out, too."""

    def check(data: bytes) -> str:
        ours = _spaced(submodule_urls(data))
        theirs = as_git_reads(data)
        if theirs is None:
            return REFUSED
        theirs = _spaced(theirs)
        if ours != theirs:
            differ(f"git reads {theirs!a}, Setpoint {ours!a}")
        return SAME if theirs else "without submodules"

    yield check


TARGET = Target("gitmodules", make, smaller, bytes, bytes, opened, examples=200)
