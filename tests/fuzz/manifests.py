"""YAML and JSON of manifests, against the packages with which kubectl reads them (`tests/kit/cluster/tools/manifests`).

What both take holds the same values, of the same types. What Setpoint alone refuses is in `MEANT`, with the reason; what kubectl
alone refuses is a difference.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final

from tests.fuzz.target import REFUSED, SAME, Check, Meant, Target, differ, meant, shorter, some
from tests.kit.cluster import binaries

from setpoint.api.reasons import Problem
from setpoint.objects import documents

FILE: Final = "dir/f.yaml"
MEANT: Final = (
    Meant(
        "duplicate key", "kubectl takes the last of two equal keys, and nobody notices that the first is gone"
    ),
    Meant(
        "something follows the end of the document",
        "kubectl drops in silence what stands between the end of a document and the next separator",
    ),
    Meant("is not UTF-8 text", "kubectl replaces what is no UTF-8, and so changes a value"),
    Meant("`---` has to be alone", "kubectl takes `---#` for a separator or for text, as it comes"),
    Meant(
        "a mapping or a list cannot be a key",
        "kubectl forgets such a key at the top of a document that is no mapping",
    ),
    Meant(
        "found unexpected ':'|expected whitespace or line break|cannot start any token|expected tag URI|expected node content",
        "libyaml is stricter with `[a:]`, `!]` and the like than go-yaml",
    ),
    Meant(
        "a tag in brackets has no value",
        "go-yaml takes a comma for a part of the tag before it, libyaml does not",
    ),
    Meant("a byte order mark begins the line", "libyaml would skip it, go-yaml takes it for text"),
    Meant(
        "a control character stands in the text",
        "kubectl does not look at what follows the end of a document",
    ),
    Meant(
        "an integer beyond 64 bits", "kubectl rounds it to a float; who writes all its digits wants them all"
    ),
    Meant(
        "infinity and NaN have no JSON form|null cannot be a key|does not fit its tag",
        "kubectl forgets a value with its key, where the same key comes again",
    ),
)
LENIENT: Final = (
    Meant("did not find expected ',' or", "go-yaml takes the question mark of `[a?]` for a sign"),
    Meant(
        "^json: ",
        "kubectl gives up on what follows a JSON object (a comment, `...`), and on YAML of less than 4 bytes that looks like JSON",
    ),
    Meant("did not find expected node content", "to kubectl `...` ends no empty document"),
)
"""What kubectl alone refuses, with the words of kubectl. It means one thing only, so it does no harm to take it."""
_SCALARS = """yes no on off y n True FALSE null ~ Null 0755 0o755 08 -017 1_000 1__0 1e3 1E3 1e400 -0 -0.0 1.0 .5 5. +.5 -.5 + - +1 0xF
0xFFFFFFFFFFFFFFFF 0x1FFFFFFFFFFFFFFFF 0b11 -0b11 0b-1 2020-01-01 2020-01-01T00:00:00Z 1:20 190:20:30 12e03 1e21 1234567890123456789012
18446744073709551615 18446744073709551616 9223372036854775807 9223372036854775808 -9223372036854775809 9007199254740993 .inf -.INF .nan
= << 0.1 1e-7 infinity nan a b a-b a.b/c ? -- --- ... % %a @a `a !a &a *a a:b a#b a: x y z \\ ' " [] {} | > {{ a }} a\tb \u00e9 \u2028 \ufeff \U0001f600
"yes" 'on' "\\u00e9" "a\\tb" "\\x41" "\\ud83d\\ude00" "\\ud800" 'it''s' "a\\
 b" 'a b' "" '' 1.5 1e6 3.4e39 123456.7 0x_1 1_._5 _1 1_ ._5 0_7 00 1.e5 !!str !!int !!own""".replace("\n", " ").split(" ")  # fmt: skip
_TAGS = ("!!str", "!!int", "!!float", "!!bool", "!!null", "!!binary", "!!map", "!!seq", "!!set", "!!omap", "!!timestamp", "!!merge", "!own", "!", "!<tag:yaml.org,2002:str>", "!<x>", "!e!x")  # fmt: skip
_HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
_SPLICES = ("\n", "\n---\n", "\n...\n", "\n--- # c\n", "\n---a\n", "\n--- a\n", "\n--- {a: b}\n", "\n---\t\n", "--- ", "---", "...", "\r", "\r\n", "\t", " ", "  ", "#", " #c", ":", ": ", "- ", ",", "{", "}", "[", "]", "\"", "'", "|", ">", "&a ", "*a", "*a ", "<<: *a", "? ", "!!str ", "%YAML 1.1\n---\n", "%TAG !e! tag:x,1:\n---\n", "%x\n", "\ufeff", "\x85", "\u2028", "\u00a0", "\0", "\x07", "\x7f", "\udcff", "\ufffe", "\ud7ff", "0", "a", "null", "{}\n", "\n{\"a\": 1}\n", "\n\n", "\\", "\n ", "\n# c\n", "\x0b", "\x0c")  # fmt: skip


class _Maker:
    """Writes one document; knows the anchors that it has."""

    def __init__(self, rng: Random) -> None:
        self.rng, self.anchors = rng, list[str]()

    def properties(self) -> str:
        """Write an anchor, a tag, both or (mostly) nothing."""
        made = ""
        if self.rng.random() < 0.12:
            self.anchors.append(name := self.rng.choice(("a", "b", "c-d", "1")))
            made += f"&{name} "
        if self.rng.random() < 0.08:
            made += f"{self.rng.choice(_TAGS)} "
        return made

    def scalar(self) -> str:
        """Write a scalar of one line, or an alias."""
        if self.anchors and self.rng.random() < 0.15:
            return f"*{self.rng.choice(self.anchors)}"
        if self.rng.random() < 0.15:
            return self.properties() + _number(self.rng)
        return self.properties() + " ".join(
            self.rng.choice(_SCALARS) for _ in range(self.rng.choice((1, 1, 1, 1, 2)))
        )

    def key(self, flow: bool) -> str:
        """Write a key with its colon."""
        chance = self.rng.random()
        if chance < 0.08:
            return "<<: "
        name = (
            self.scalar()
            if chance < 0.4
            else self.rng.choice(("a", "b", "c", "d", "e", "f", "g", "data", "spec"))
        )
        if not flow and chance > 0.97:
            return f"? {name}\n"
        return f"{name}{self.rng.choice((': ', ': ', ': ', ':', ' : '))}"

    def flow(self, depth: int) -> str:
        """Write a mapping or list in brackets, or JSON, or a scalar."""
        chance = self.rng.random()
        if depth <= 0 or chance < 0.4:
            return self.scalar()
        if chance < 0.5:
            return json.dumps(_value(self.rng, depth), ensure_ascii=self.rng.random() < 0.5)
        gap = self.rng.choice((" ", "", "\n  ", " # c\n  "))
        if chance < 0.75:
            return f"{self.properties()}[{f',{gap}'.join(self.flow(depth - 1) for _ in range(self.rng.randint(0, 3)))}{self.rng.choice(('', '', ','))}]"
        pairs = (f"{self.key(flow=True)}{self.flow(depth - 1)}" for _ in range(self.rng.randint(0, 3)))
        return f"{self.properties()}{{{f',{gap}'.join(pairs)}}}"

    def block(self, depth: int, indent: str) -> str:
        """Write what stands behind a colon, or on lines of its own below it."""
        chance = self.rng.random()
        if depth <= 0 or chance < 0.35:
            return f"{self.flow(1)}{self.rng.choice(('', '', '', ' # c', ' '))}\n"
        if chance < 0.5:
            return self._text(indent)
        inner = indent + self.rng.choice(("  ", "  ", " ", "    "))
        if chance < 0.7:
            inner = self.rng.choice((inner, indent))
            rows = (f"{inner}- {self.block(depth - 1, inner + '  ')}" for _ in range(self.rng.randint(1, 3)))
        else:
            rows = (
                f"{inner}{self.key(flow=False)}{self.block(depth - 1, inner)}"
                for _ in range(self.rng.randint(1, 3))
            )
        return f"{self.properties()}\n{''.join(rows)}"

    def _text(self, indent: str) -> str:
        """Write text of several lines."""
        rows = [
            self.rng.choice(("a", "", "  b", "# no comment", "- x: y", "\tt", "c ", "---x", "{{ x }}"))
            for _ in range(self.rng.randint(0, 4))
        ]
        body = "".join(f"{indent}  {row}\n" for row in rows)
        style = self.rng.choice(("|", ">", "|-", ">-", "|+", ">+", "|2", ">1-", "| # c", "|4", "", '"', "'"))
        if style in ("", '"', "'"):
            return f"{style}x\n{body}{indent}  y{style}\n"
        return f"{self.properties()}{style}\n{body}"

    def document(self) -> str:
        """Write an object, or something that is none."""
        chance = self.rng.random()
        if chance < 0.08:
            return self.block(3, "")
        if chance < 0.2:
            return (
                json.dumps(
                    {
                        "apiVersion": "v1",
                        "kind": "ConfigMap",
                        "metadata": {"name": "a"},
                        "data": _value(self.rng, 3),
                    }
                )
                + "\n"
            )
        return f"{_HEAD}data: {self.block(4, '')}"


def _number(rng: Random) -> str:
    return "".join(rng.choice("0123456789-+._eExXoObB:") for _ in range(rng.randint(1, 9)))


def _value(rng: Random, depth: int) -> Any:
    chance = rng.random()
    if depth <= 0 or chance < 0.5:
        return rng.choice((None, True, 0, -0.0, 1.0, 1e20, 1e22, 2**63, -(2**63), 2**64, 1.5, "", "a", "yes", "\u2028", "\U0001f600", "\x7f", "a\nb", "<>&", rng.getrandbits(70), rng.random()))  # fmt: skip
    if chance < 0.7:
        return [_value(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    return {
        rng.choice(("a", "b", "1", "yes", "", "\u00e9", "<<", "a b")): _value(rng, depth - 1)
        for _ in range(rng.randint(0, 3))
    }


def make(rng: Random) -> bytes:
    """Make documents, with separators between, and in a third of the cases with something odd at one place or two."""
    parts = some(rng, lambda _: _Maker(rng).document(), 1, 3)
    text = rng.choice(("", "", "", "---\n", "# c\n---\n", "\ufeff", "%YAML 1.1\n---\n", "\n\n", "--- # c\n"))
    text += rng.choice(("---\n", "---\n", "--- # c\n", "---\n---\n", "...\n---\n", "\n---\n# c\n", "")).join(
        parts
    )
    for _ in range(rng.choice((0, 0, 0, 0, 1, 1, 2))):
        at = rng.randint(0, len(text))
        text = text[:at] + rng.choice(_SPLICES) + text[at + rng.choice((0, 0, 1, 5)) :]
    if rng.random() < 0.1:
        text = text.replace("\n", rng.choice(("\r\n", "\r\n", "\r")))
    return text.encode(
        "utf-8", "surrogateescape" if not any("\ud800" <= c <= "\udbff" for c in text) else "replace"
    )


def smaller(data: bytes) -> Iterator[bytes]:
    """Leave out lines, then characters."""
    yield from (
        text.encode("utf-8", "surrogateescape") for text in shorter(data.decode("utf-8", "surrogateescape"))
    )


class Reader:
    """kubectl's packages in a process that reads one file after the other."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def close(self) -> None:
        """End it."""
        self._process.communicate()

    def read(self, data: bytes) -> list[Any] | str:
        """Return the documents of a file that are not empty, or the words of the error."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(struct.pack(">I", len(data)) + data)
        self._process.stdin.flush()
        (size,) = struct.unpack(">I", self._process.stdout.read(4))
        answer = json.loads(self._process.stdout.read(size), parse_int=_integer)
        return str(answer["error"]) if answer["error"] else list(answer["documents"])


def _integer(digits: str) -> int | float:
    value = int(digits)
    return value if -(2**63) <= value < 2**63 else float(value)


def _same(one: Any, other: Any) -> bool:
    """Equal, and of equal types all the way down (True is not 1)."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@contextmanager
def opened(_: Path) -> Iterator[Check[bytes]]:
    """Start kubectl's packages, and yield what compares a file."""
    reader = Reader(binaries.ensure("manifests")["manifests"])

    def check(data: bytes) -> str:
        theirs = reader.read(data)
        try:
            ours = [each.value for each in documents.parse(data, FILE) if each.value is not None]
        except Problem as problem:
            if not problem.message.startswith(f"{FILE}:"):
                differ(f"the file is not named: {problem.message}")
            if isinstance(theirs, str):
                return REFUSED
            if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
                return "refused by Setpoint alone: JSON with more behind it or a key twice, read as YAML, or with an integer beyond 64 bits"
            return meant(MEANT, problem.message)
        if isinstance(theirs, str):
            if not any(re.search(each.words, theirs) for each in LENIENT):
                differ(f"kubectl refuses it ({theirs}), Setpoint reads {json.dumps(ours)}")
            return "refused by kubectl alone"
        if not _same(ours, theirs):
            differ(f"kubectl reads {json.dumps(theirs)}, Setpoint {json.dumps(ours)}")
        return _objects(data, theirs)

    try:
        yield check
    finally:
        reader.close()


def _objects(data: bytes, theirs: list[Any]) -> str:
    """Compare the objects, where Setpoint takes them; a List is another matter, and so is what is no object."""
    try:
        found = [each.manifest for each in documents.read(data, FILE).documents]
    except Problem as problem:
        if not problem.message.startswith(f"{FILE}:"):
            differ(f"the file is not named: {problem.message}")
        return f"{SAME}, but no objects"
    if not any(str(each.get("kind")).endswith("List") for each in theirs):
        objects = [each for each in theirs if each.get("apiVersion") or each.get("kind")]
        if not _same(found, objects):
            differ(f"kubectl has the objects {json.dumps(objects)}, Setpoint {json.dumps(found)}")
    return SAME


TARGET = Target("manifests", make, smaller, bytes, bytes, opened, examples=1000)
