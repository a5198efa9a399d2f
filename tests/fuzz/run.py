"""Runs a target: its corpus first, then rounds of new cases; one that differs is made smaller."""

from __future__ import annotations

import hashlib
import re
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.target import Check, Difference, Target

SHRINK_SECONDS = 60
"""How long a case that differs is made smaller."""
CORPUS = Path(__file__).with_name("corpus")


@dataclass
class Found:
    """What is read differently: the smallest input that shows it, and the words of the difference."""

    target: str
    data: bytes
    words: str

    @property
    def kind(self) -> str:
        """The words without what is of this input alone, so that one fault is told once."""
        return f"{self.target}: {re.sub(r'[^a-z ]+|[a-z]+(?=[^a-z ])', '', self.words)[:100]}"

    def told(self, folder: Path) -> str:
        """Write the input into a folder; returns what a person needs: the input, and how it becomes a test."""
        file = folder / f"{self.target}-{hashlib.sha256(self.data).hexdigest()[:8]}"
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(self.data)
        return (
            f"{self.target}: {self.words}\n{self.data.decode('utf-8', 'backslashreplace')}\n"
            f"The input is in {file}. Mend it, or add the words to the table of tests/fuzz/{self.target}.py with the reason; either way\n"
            f"  cp {file} {CORPUS.relative_to(CORPUS.parents[2])}/{self.target}/<what-it-shows>\n"
        )


@dataclass
class Session:
    """A target that is open: compares cases and counts them."""

    target: Target[Any]
    check: Check[Any]
    counts: Counter[str] = field(default_factory=Counter)

    def replay(self) -> list[Found]:
        """Compare each input of the corpus."""
        found = []
        for file in corpus(self.target.name):
            data = file.read_bytes()
            if words := self._difference(self.target.read(data)):
                found.append(Found(self.target.name, data, f"{file.name} of the corpus: {words}"))
        return found

    def round(self, seed: str, examples: int | None = None) -> Found | None:
        """Compare new cases, up to the first difference; the same seed makes the same ones."""
        for number in range(examples or self.target.examples):
            case = self.target.make(Random(f"{seed}-{number}"))
            if words := self._difference(case):
                return self._smallest(case, words)
        return None

    def _difference(self, case: Any) -> str:
        try:
            self.counts[self.check(case)] += 1
        except Difference as difference:
            return str(difference)
        except Exception as error:  # noqa: BLE001 - whatever a reader raises is found, too
            return "".join(traceback.format_exception(error)[-4:])
        return ""

    def _smallest(self, case: Any, words: str) -> Found:
        """Leave out parts for as long as it still differs."""
        end = time.monotonic() + SHRINK_SECONDS
        again = True
        while again:
            again = False
            for each in self.target.smaller(case):
                if each == case:
                    continue
                if time.monotonic() > end:
                    break
                if fewer_words := self._difference(each):
                    case, words, again = each, fewer_words, True
                    break
        return Found(self.target.name, self.target.write(case), words)


def corpus(name: str) -> list[Path]:
    """Return the inputs of a target that are kept."""
    return sorted((CORPUS / name).iterdir())


@contextmanager
def session(target: Target[Any], folder: Path) -> Iterator[Session]:
    """Open a target in a folder of its own."""
    own = folder / target.name
    own.mkdir(parents=True)
    with target.opened(own) as check:
        yield Session(target, check)
