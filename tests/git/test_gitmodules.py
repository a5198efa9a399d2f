"""`.gitmodules`, compared with how git itself reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.git.contents.submodules import submodule_urls


def as_git_reads(data: bytes) -> dict[str, str] | None:
    """Return URLs by path as `git config` sees them, or None where git refuses the file."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / ".gitmodules"
        file.write_bytes(data)
        run = subprocess.run(
            ["git", "config", "-z", "-f", str(file), "--list"], capture_output=True, check=False
        )
    if run.returncode:
        return None
    modules: dict[str, dict[str, str]] = {}
    for line in run.stdout.decode("utf-8", "replace").split("\0"):
        key, newline, value = line.partition("\n")
        section, _, rest = key.partition(".")
        name, dot, variable = rest.rpartition(".")
        if section == "submodule" and dot and newline:
            modules.setdefault(name, {})[variable] = value
    return {m["path"].strip("/"): m["url"] for m in modules.values() if {"path", "url"} <= m.keys()}


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("", {}),
        ('[submodule "lib"]\n\tpath = lib\n\turl = ../lib.git\n', {"lib": "../lib.git"}),
        ('[submodule "a b"]\npath=third party/a b\nurl=https://h.example/a # comment\n', {"third party/a b": "https://h.example/a"}),
        ('[submodule "lib"] path = lib ; comment\n  url = "https://h.example/#a;b"\n', {"lib": "https://h.example/#a;b"}),
        ('[Submodule "lib"]\nPATH = lib\nUrl = x\n', {"lib": "x"}),
        ('[submodule "lib"]\npath = lib\nurl = x\nurl = y\n', {"lib": "y"}),
        ('[submodule "lib"]\npath = lib\n[core]\nurl = evil\n', {}),
        ('[submodule "lib"]\npath = lib\n[submodule "lib"]\nurl = x\n', {"lib": "x"}),
        ('[submodule "lib"]\npath = lib\nurl = a\\\nb\n', {"lib": "ab"}),
        ('[submodule "lib"]\npath = lib # a comment \\\nurl = b\n', {"lib": "b"}),
        ('# [submodule "lib"]\n;[submodule "lib"]\n[submodule "lib"]\npath = lib\nurl = b\n', {"lib": "b"}),
        ('[submodule "q\\"\\\\q"]\npath = "lib\\t\\"x\\""\nurl = b\n', {'lib\t"x"': "b"}),
        ('[submodule "lib"]\r\npath = lib\r\nurl = b\r\n', {"lib": "b"}),
        ('[submodule "lib"]\npath = lib\x0b\nurl = a\u2028b\x85c\n', None),
        ('[submodule "lib"]\npath = lib/\nurl = b', {"lib": "b"}),
        ("[submodule]\npath = lib\nurl = b\n", {}),
        ('[submodule "lib"]\npath = li\0b\nurl = "b\0c" d\n[submodule "a\0b"]\npath = x\nurl = y\n', {"li": "b"}),
        ('[submodule "lib"]\npath = lib\nurl = b \\', {"lib": "b "}),
        ('\ufeff[submodule "lib"]\npath = lib\nurl = b\n', {"lib": "b"}),
    ],
)  # fmt: skip
def test_by_example_and_by_git(text: str, urls: dict[str, str] | None) -> None:
    found = dict(submodule_urls(text.encode()))
    assert found == as_git_reads(text.encode())
    assert urls is None or found == urls


WORDS = st.text(st.sampled_from([*'ab/.:@-_~#;"\\ =[]', "\u00e9", "\x0c", "\u2028"]), min_size=1, max_size=12)
LINES = st.one_of(
    st.builds('[submodule "{}"]'.format, st.sampled_from(["a", "b", "c d", "e.f"])),
    st.sampled_from(["[core]", "# note", "; note \\", "", "  ", "path", '[submodule "g"] path = g']),
    st.builds(
        "{}{} = {}".format, st.sampled_from(["", "\t"]), st.sampled_from(["path", "url", "branch"]), WORDS
    ),
)


@settings(max_examples=150)
@given(st.lists(LINES, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_whatever_git_understands_is_understood_alike(lines: list[str], end: str) -> None:
    data = end.join([*lines, ""]).encode()
    truth = as_git_reads(data)
    found = dict(submodule_urls(data))
    if truth is not None:
        assert found == truth


@given(st.binary(max_size=200))
def test_any_bytes_are_read(data: bytes) -> None:
    assert all(isinstance(url, str) for url in submodule_urls(data).values())
