"""Patterns of `spec.exclude`, against `git check-ignore --no-index`: one git for all cases, each in a folder of its own."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random

from tests.fuzz.target import SAME, Check, Target, differ, fewer, some
from tests.unit.tree.test_gitignore import NAMES, PIECES

from setpoint.tree.gitignore import BadLine, GitIgnore


@dataclass(frozen=True)
class Patterns:
    """Lines of a .gitignore, and paths to hold them against. Surrogates stand for bytes that are no UTF-8."""

    lines: list[str]
    paths: list[str]


_NO_NAMES = (".", "..", ".git", ".gitignore")


def make(rng: Random) -> Patterns:
    """Make lines of pieces that mean something, and paths, half of which are lines without their stars."""
    lines = some(rng, _line, 1, 8)
    paths = some(rng, _path, 1, 12) + [_like(rng, rng.choice(lines)) for _ in range(8)]
    return Patterns(lines, [path for path in paths if path])


def _line(rng: Random) -> str:
    pieces = some(rng, lambda _: rng.choice(rng.choice((PIECES, PIECES, NAMES))), 0, 7)
    if rng.random() < 0.2:
        pieces.insert(rng.randint(0, len(pieces)), _character(rng))
    start = rng.choice(("", "", "", "!", "/", "\\", "#", "\ufeff"))
    return start + "".join(pieces) + rng.choice(("", "", "", "/", " ", "\r", "*", "/**"))


def _character(rng: Random) -> str:
    found = chr(
        rng.choice(
            (
                rng.randint(1, 0x7F),
                rng.randint(0x80, 0x2FF),
                rng.randint(0xDC80, 0xDCFF),
                rng.randint(0x2000, 0xD7FF),
            )
        )
    )
    return "" if found == "\n" else found


def _path(rng: Random) -> str:
    return _sound(
        "/".join(some(rng, lambda _: rng.choice(NAMES) + rng.choice(("", "", "", _character(rng))), 1, 4))
    )


def _like(rng: Random, line: str) -> str:
    """Make a path that the line may match."""
    for sign in ("[", "]", "!", "\\", "?", "*", "^"):
        line = line.replace(sign, rng.choice(("", "a", "/", "b/a", sign)))
    return _sound(line)


def _sound(path: str) -> str:
    """Return a path as one of a commit, without empty names and what Git keeps for itself."""
    return "/".join(name for name in path.split("/") if name and name.lower() not in _NO_NAMES)[:200].strip(
        "/"
    )


def smaller(case: Patterns) -> Iterator[Patterns]:
    """Leave out lines, paths, and characters of a line."""
    yield from (replace(case, lines=lines) for lines in fewer(case.lines))
    yield from (replace(case, paths=paths) for paths in fewer(case.paths))
    for field in ("lines", "paths"):
        texts = getattr(case, field)
        for number, text in enumerate(texts):
            for shorter in fewer(text):
                if field == "lines" or (shorter and _sound("".join(shorter)) == "".join(shorter)):
                    yield replace(case, **{field: [*texts[:number], "".join(shorter), *texts[number + 1 :]]})


class Git:
    """One `git check-ignore` that is asked again and again; a case has the .gitignore of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, itertools.count()
        environment = {**os.environ, "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(["git", "init", "-q", folder], check=True, env=environment)
        command = ["git", "check-ignore", "--stdin", "-z", "-v", "-n", "--no-index"]
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def ignored(self, case: Patterns) -> list[bool]:
        """Say for each path whether git leaves it out."""
        assert self._process.stdin
        name = f"c{next(self._numbers)}"
        (self._folder / name).mkdir()
        file = self._folder / name / ".gitignore"
        file.write_bytes("\n".join(case.lines).encode("utf-8", "surrogateescape"))
        asked = "".join(f"{name}/{path}\0" for path in case.paths)
        self._process.stdin.write(asked.encode("utf-8", "surrogateescape"))
        self._process.stdin.flush()
        answers = [[self._field() for _ in range(4)] for _ in case.paths]
        file.unlink()
        file.parent.rmdir()
        return [bool(pattern) and not pattern.startswith(b"!") for _, _, pattern, _ in answers]

    def _field(self) -> bytes:
        assert self._process.stdout
        taken = bytearray()
        while (byte := self._process.stdout.read(1)) != b"\0":
            assert byte, "git check-ignore ended"
            taken += byte
        return bytes(taken)


def _fit(line: str, number: int) -> bool:
    try:
        GitIgnore([*["#"] * min(number, 1), line])  # only the first may have a mark of byte order
    except BadLine:
        return False
    return True


@contextmanager
def opened(folder: Path) -> Iterator[Check[Patterns]]:
    """Start git, and yield what compares a case.

    A line that can match nothing is an error to Setpoint (decision 20). Git gets it all the same: it must not count there.
    """
    git = Git(folder)

    def check(case: Patterns) -> str:
        fit = [line if _fit(line, number) else "#" for number, line in enumerate(case.lines)]
        ours = GitIgnore(fit)
        theirs = dict(zip(case.paths, git.ignored(case), strict=True))
        if other := {path: said for path, said in theirs.items() if ours.ignores(path) != said}:
            differ(f"git leaves these out (true) or not, Setpoint the contrary: {other!a}")
        return SAME if fit == case.lines else "with lines that can match nothing"

    try:
        yield check
    finally:
        git.close()


def _read(data: bytes) -> Patterns:
    return Patterns(**json.loads(data))


def _write(case: Patterns) -> bytes:
    return json.dumps(asdict(case), indent=1).encode() + b"\n"


TARGET = Target("patterns", make, smaller, _read, _write, opened, examples=400)
