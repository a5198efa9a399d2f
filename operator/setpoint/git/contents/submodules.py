"""Reads `.gitmodules` (pure): git's configuration syntax, see git-config(1) and gitmodules(5).

In: the bytes of the file. Out: submodule URLs by path, and the links of a commit. Only `path` and `url` count: the branch or update rule of a
submodule does not matter, because the pinned commit is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from setpoint.api.budgets import MAX_PATH, Budgets
from setpoint.git.links import Link
from setpoint.tree.protocol import EntryKind, Tree

# Blanks are git's own four; Python's \s has many more, which are part of a value.
_SKIPPED = re.compile(r"(?:[ \t\r\n]|[#;][^\n]*)*")
_SUBMODULE = re.compile(r'\[submodule[ \t]+"((?:[^"\\\n]|\\.)*)"\]', re.IGNORECASE)
_DOTTED = re.compile(r"\[submodule\.([A-Za-z0-9.-]+)\]", re.IGNORECASE)  # git's older way to write it
_SECTION = re.compile(r'\[[^"\]\n]*(?:"(?:[^"\\\n]|\\.)*")?\]')
_VARIABLE = re.compile(r"([A-Za-z][A-Za-z0-9-]*)[ \t\r]*(=)?[ \t\r]*")
_VALUE = re.compile(r'(?:[^"\\#;\n]|\\(?:.|\n)|"(?:[^"\\\n]|\\(?:.|\n))*")*')
_PART = re.compile(r'\\(.|\n)|"((?:[^"\\\n]|\\(?:.|\n))*)"|([^"\\])', re.DOTALL)
_ESCAPED = re.compile(r"\\(.|\n)")
_ESCAPES = {"n": "\n", "t": "\t", "b": "\b", "\n": ""}
_LINE = re.compile(r"[^\n]*")


def links_in(tree: Tree, budgets: Budgets) -> tuple[Link, ...]:
    """List the submodules of a commit; a gitlink that .gitmodules does not name stays what it is.

    Raises Problem for too many, before they are looked up.
    """
    entry = tree.entry(".gitmodules")
    if entry is None or entry.kind is not EntryKind.BLOB:
        return ()
    urls = submodule_urls(tree.read(".gitmodules"))
    budgets.check("max_submodules", len(urls), ".gitmodules")
    found = ((path, url, tree.entry(path)) for path, url in urls.items() if len(path) <= MAX_PATH)
    return tuple(
        Link(path, url, link.oid) for path, url, link in found if link and link.kind is EntryKind.SUBMODULE
    )


def submodule_urls(data: bytes) -> Mapping[str, str]:
    """Return the URL of each submodule, by its path; entries without one of the two are left out."""
    found: dict[str, dict[str, str]] = {}
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")  # git skips one mark of byte order
    # The end of the file ends a line, for a backslash before it, too.
    for name, key, value in _variables(text.replace("\r\n", "\n") + "\n"):
        found.setdefault(name, {})[key] = value
    return {
        each["path"].strip("/"): each["url"] for each in found.values() if "path" in each and "url" in each
    }


def _variables(text: str) -> Iterator[tuple[str, str, str]]:
    """Return submodule name, variable and value, one after the other; what cannot be read ends with its line."""
    name: str | None = None
    position = 0
    while (position := _end(_SKIPPED, text, position)) < len(text):
        if section := _SUBMODULE.match(text, position):
            text_of_name = _unescape(section[1], {})
            # Git's strings end at a zero byte: the name of such a variable would be cut off within the section's.
            name, position = None if "\0" in text_of_name else text_of_name, section.end()
        elif section := _DOTTED.match(text, position):
            name, position = section[1].lower(), section.end()
        elif section := _SECTION.match(text, position):
            name, position = None, section.end()
        elif (variable := _VARIABLE.match(text, position)) and variable[2]:
            position = _end(_VALUE, text, variable.end())
            if name is not None:
                yield name, variable[1].lower(), _value(text[variable.end() : position])
        else:
            position = _end(_LINE, text, position)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _value(text: str) -> str:
    """Undo quotes and escapes, and drop trailing blanks outside of quotes, and what stands behind a zero byte."""
    out, length = "", 0
    for part in _PART.finditer(text):
        plain = part[3]
        out += plain or (_ESCAPES.get(part[1], part[1]) if part[1] else _unescape(part[2], _ESCAPES))
        if not plain or plain not in " \t\r":
            length = len(out)
    return out[:length].partition("\0")[0]


def _unescape(text: str, known: Mapping[str, str]) -> str:
    return _ESCAPED.sub(lambda match: known.get(match[1], match[1]), text)
