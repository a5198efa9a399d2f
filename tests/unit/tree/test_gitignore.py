"""Which paths are left out: by example, and as `git check-ignore` says it, on generated lines and paths."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from setpoint.tree.gitignore import BadLine, GitIgnore

ROUNDS = int(os.environ.get("SETPOINT_IGNORE_ROUNDS", "120"))
PATHS = 60


class Git:
    """A real repository, whose .gitignore is what a test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            **os.environ,
            "HOME": str(folder),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        subprocess.run(["git", "init", "-q", folder], check=True, env=self._environment)

    def ignored(self, lines: Sequence[str], paths: Sequence[str]) -> list[bool]:
        """Say for each path whether git leaves it out. The `./` keeps git from taking a colon for magic."""
        text = "\n".join(lines).encode("utf-8", "surrogateescape")
        (self.folder / ".git/info/exclude").write_bytes(text)
        asked = b"".join(b"./" + path.encode("utf-8", "surrogateescape") + b"\0" for path in paths)
        command = ["git", "check-ignore", "--stdin", "-z", "-v", "-n", "--no-index"]
        run = subprocess.run(
            command, input=asked, capture_output=True, cwd=self.folder, env=self._environment, check=False
        )
        assert run.returncode in (0, 1), run.stderr
        fields = run.stdout.split(b"\0")[:-1]
        assert len(fields) == 4 * len(paths), "git says four things of each path"
        return [bool(pattern) and not pattern.startswith(b"!") for pattern in fields[2::4]]


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    return Git(tmp_path_factory.mktemp("ignore"))


@pytest.mark.parametrize(
    ("lines", "ignored", "kept"),
    [
        (["**/test/**"], ["test/a", "x/test/y/a"], ["test", "x/tests/a"]),
        (["*.yaml", "!/a.yaml"], ["b.yaml", "x/a.yaml"], ["a.yaml", "a.yml"]),
        (["/k/"], ["k/a", "k/b/c"], ["x/k/a", "k"]),
        (["k/"], ["k/a", "x/k/a"], ["k"]),
        (["x/*", "!x/k"], ["x/a"], ["x/k", "x/k/a"]),
        (["x/", "!x/a"], ["x/a"], ["y/a"]),  # what is in a folder that is left out cannot be taken in again
        (["a/**/b"], ["a/b", "a/x/b", "a/x/y/b"], ["b", "xa/b", "a/xb"]),
        (["a/**/**/**/b"], ["a/b", "a/x/y/b"], ["a/xb"]),
        (["**/b"], ["b", "a/b"], ["xb"]),
        (["a/**"], ["a/b", "a/b/c"], ["a"]),
        (["a**/b"], ["ab", "a/b", "a/x/b"], ["axb"]),  # Git compares the `a` by itself
        (["?a**/b"], ["xa/b", "xab/b"], ["xa/x/b"]),
        (["a/*/b"], ["a/x/b"], ["a/b", "a/x/y/b"]),
        (["a***b"], ["ab", "axb"], ["a/b"]),
        (["**\\/b/c"], ["x/b/c", "x/y/b/c"], ["b/c"]),
        (["?.y"], ["a.y", "x/b.y"], ["é.y", ".y"]),  # one byte, and é is two
        (["??.y", "[^a]?.z"], ["é.y", "é.z"], ["a.z"]),
        (["é*"], ["éa", "é"], ["ea"]),
        (["a?b/c"], ["axb/c"], ["a/b/c"]),
        (["x/a[/]b", "y/a[^x]b"], ["y/azb"], ["x/a/b", "y/a/b"]),
        (["[[:digit:]x-z].y"], ["1.y", "z.y"], ["a.y", "[.y"]),
        (["[]-]", "[!]a]b"], ["]", "-", "xb"], ["]b", "ab", "[]-]"]),
        (["[a-c-e]1", "[\\]]2", "[a\\-c]3", "[c-a]4", "[[:]5", "[[:a]6"],
         ["b1", "e1", "-1", "]2", "-3", "c4", "[5", ":5", ":6"], ["d1", "\\2", "b3", "b4"]),
        (["#a", "\\#b", "\\!c", "!d"], ["#b", "!c"], ["#a", "d", "!d"]),
        (["a ", "b\\ ", "c \\ ", "d\t"], ["a", "b ", "c  ", "d\t"], ["a ", "b", "c", "c ", "d"]),
        (["a\r", "b \r", "c\n", "d\r\n", "\r"], ["a", "b", "c", "d"], ["a\r"]),
        (["\ufeffa", "\ufeffb"], ["a", "\ufeffb"], ["b", "\ufeffa"]),
        (["", "  ", "#", "\ufeff"], ["\ufeff"], ["a", "  ", "#"]),
        (["a//b", "//c", "//"], [], ["a/b", "c"]),
        (["*" * 3], ["a", "b/c"], []),
        ([], [], ["a"]),
        (["A"], ["A"], ["a"]),
    ],
)  # fmt: skip
def test_by_example_and_by_git(git: Git, lines: list[str], ignored: list[str], kept: list[str]) -> None:
    found = GitIgnore(lines)
    assert [path for path in ignored + kept if found.ignores(path)] == ignored
    unended = [line.removesuffix("\n") for line in lines]
    assert git.ignored(unended, ignored + kept) == [True] * len(ignored) + [False] * len(kept)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a\\", "ends with a backslash"),
        ("a\\/", "ends with a backslash"),
        ("[a\\", "no ] closes"),
        ("x/[a", "no ] closes"),
        ("[]", "no ] closes"),
        ("[^]", "no ] closes"),
        ("[a-", "no ] closes"),
        ("[[:alpha:]", "no ] closes"),
        ("[[:alpha:", "no ] closes"),
        ("[[:word:]]", "a class of characters that there is not"),
        ("[[::]]", "a class of characters that there is not"),
        ("!", "names nothing"),
        ("/", "names nothing"),
        ("!/", "names nothing"),
    ],
)
def test_what_git_would_never_match_is_refused(git: Git, line: str, words: str) -> None:
    with pytest.raises(BadLine, match=words) as caught:
        GitIgnore(["*.yaml", line])
    assert str(caught.value).startswith(f"{line!a}: ")
    paths = [line, line.strip("\\/!"), "a", "a\\", "a/b", "x/a", "x/[a", "b", "[", "]"]
    assert not any(git.ignored([line], [path for path in paths if path.strip("/")]))


@pytest.mark.parametrize("line", ["a\nb", "a\0", "\n\n", "\ud800"])
def test_what_is_no_line_is_refused(line: str) -> None:
    with pytest.raises(BadLine, match="it holds a "):
        GitIgnore([line])


def test_a_long_line_is_named_by_its_beginning() -> None:
    with pytest.raises(BadLine, match=r"^'b{80}'\.\.\.: it ends"):
        GitIgnore(["b" * 500 + "\\"])


PIECES = [
    *("*", "**", "***", "/", "/", "**/", "/**", "*/", "?", "\\", " ", "\\ ", "\t", "!", "^", "-", "#", "[", "]"),
    *("a", "b", "c", "ab", ".", "é", "\u00fc", "\udcff", "1", "\\a", "\\*", "\\?", "\\[", "\\/", "\\\\", ":"),
    *("[abc]", "[a-c]", "[!a]", "[^a]", "[]a]", "[!]a]", "[a-]", "[-a]", "[\\]a]", "[a\\-c]", "[b-a]", "[a/b]"),
    *("[é]", "[^é]", "[à-ü]", "[[:]", "[[:a]", "[a-[:alpha:]]", "[[:alpha:]-z]", "[[:digit:][:upper:]]", "[[]"),
    *("[[:word:]]", "[[::]]", "[\\a-\\c]", "[+--]", "[*-.]", "[^/]", "[!-0]", "[\x01-\x7f]"),
    *(f"[{sign}[:{name}:]]" for sign in ("", "!") for name in (
        "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper",
        "xdigit",
    )),
]  # fmt: skip
NAMES = [
    *("a", "b", "c", "A", "ab", "abc", "aab", "1", "a1", "é", "ü", "aé", "\udcff", " ", "a ", "\t", "#", "!", "!a", "#a"),
    *("\\", "a\\", "[", "]", "-", "^", "a-c", "*", "?", ".a", "a.b", "..a", ":", "z", "\x7f", "\x01", "\x0b", "\r", "a\r"),
    *("[a", "[abc]", "+", ",", "_", "~", "f", "g"),
]  # fmt: skip


def a_line(rng: random.Random) -> str:
    sign, end = rng.choice(["", "", "", "!", "/", "\\"]), rng.choice(["", "", "", "/", " ", "\r", "*"])
    return sign + "".join(rng.choice(PIECES) for _ in range(rng.randint(0, 5))) + end


def a_path(rng: random.Random) -> str:
    return "/".join(rng.choice(NAMES) for _ in range(rng.choice([1, 1, 2, 2, 3, 4])))


def fit(line: str) -> bool:
    try:
        GitIgnore([line])
    except BadLine:
        return False
    return True


def cases(seed: int) -> Iterator[tuple[list[str], list[str]]]:
    """Yield sets of lines, and paths to hold them against; half of the sets are a single line."""
    rng = random.Random(seed)
    for _ in range(ROUNDS // 4):
        lines = [a_line(rng) for _ in range(rng.choice([1, 1, 2, 4, 8]))]
        yield lines, [a_path(rng) for _ in range(PATHS)]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_written_means_what_git_says(git: Git, seed: int) -> None:
    """Lines that are refused are given to git all the same: they must not count there either."""
    said = 0
    for lines, paths in cases(seed):
        found = GitIgnore([line if fit(line) else "#" for line in lines])
        expected = git.ignored(lines, paths)
        assert {p: found.ignores(p) for p in paths} == dict(zip(paths, expected, strict=True)), lines
        said += sum(expected)
    assert said > ROUNDS, "patterns that match nothing show nothing"


@pytest.mark.parametrize(
    "lines",
    [
        ["*a" * 8 + "*b"],
        ["**/*a" * 150 + "b"],
        ["*a*/" * 200 + "b"],
        ["[[:alpha:]]*" * 64 + "b"] * 24,
        ["*?" * 400 + "b"],
        [f"{'*a' * 30}{i}" for i in range(256)],
    ],
)
def test_time_is_bounded_whatever_is_written(lines: list[str]) -> None:
    """Whoever tries one way after another would not come back from these."""
    found = GitIgnore(lines)
    assert not found.ignores("/".join(["a" * 250] * 16))
