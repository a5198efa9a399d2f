"""Turns an error of kustomize into one sentence: the first cause, and the file (pure).

Its messages are chains of wrappers with absolute paths. Some quote their input: literals of a secretGenerator, patches,
whole objects. Known causes are reworded; others are shown only if nothing in the build is a Secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from posixpath import basename, dirname
from typing import Final

from setpoint.render.kustomize.kustomization import NAMES
from setpoint.tree.paths import join

OVERLAY: Final = "spec.kustomize"
"""How people know the kustomization that is made of the Sync's spec."""

_MAX: Final = 300
_NOTE: Final = re.compile(r"^(# Warning|\d{4}/\d\d/\d\d [\d:]+ Warning)")
_WRAPPERS: Final = tuple(
    re.compile(text, re.DOTALL)
    for text in (
        r"accumulating (?:resources|components): ",
        r"accumulation err='accumulating resources from '[^']*': '[^']*' must resolve to a file': ",
        r"(?:recursed accumulation of path|couldn't make target for path) '(?P<folder>[^']*)': ",
        r"accumulation err='(?=(?:accumulating|merging) )",
        r"(?:accumulating|merging) resources from '(?P<file>[^']*)': ",
        r"accumulateDirectory: \"",
        r"loader\.New \"",
        r"(?P<kustomization>invalid Kustomization: )",
        r"MalformedYAMLError: (?:yaml: )?",
        r"loading KV pairs: ",
        r"trouble configuring builtin \w+ with config: `.*?`: ",
        r"merging from generator .*?(?=id )",
        r"failed to load generator: ",
    )
)
_ID: Final = r"([A-Za-z]+)\.(?:\w+|\[noVer\])\.(?:\[noGrp\]|[\w.-]+)/(\S+?)\.(?:\[noNs\]|[\w-]+)"
_CAUSES: Final = tuple(
    (re.compile(pattern, re.DOTALL), said)
    for pattern, said in (
        (r"may not add resource with an already registered id: " + _ID, r"\1/\2 is defined twice"),
        (r"no resource matches strategic merge patch \"" + _ID, r"no resource matches the patch for \1/\2"),
        (r"nothing selected by " + _ID, r"the source of a replacement, \1/\2, is not there"),
        (r"json: unknown field \"([^\"]*)\"", r"there is no field '\1' in a kustomization"),
        (r"literal sources? .*expected key=value", "a literal of a generator is not written key=value"),
        (r"has invalid utf8 bytes", "an env file has a line that is not UTF-8"),
        (r"unable to parse SM or JSON patch", "a patch is neither a strategic merge patch nor a JSON patch"),
        (
            r"missing Resource metadata|missing metadata\.name|missing kind in object",
            "an object has no kind or no metadata.name",
        ),
        (
            r"security; file '[^']*' is not in or below",
            "the configuration of a plugin names a file outside of the kustomization's folder; move it there",
        ),
        (
            r"evalsymlink failure on '(?:\./)?([^']*)'",
            r"\1 is not among the files that a plugin can name: those of its kustomization's folder, but for kustomizations",
        ),
        (
            r"no 'git' program on path",
            "kustomize takes a reference for a remote one, which is refused; give the folder a path that looks like no URL",
        ),
        (r"new root cannot be empty", "an entry of resources, bases or components is empty"),
        (r"(apiVersion for \w+ should be \S+)", r"the \1"),
        (r"cycle detected", "the kustomizations refer to each other in a circle"),
        (r"external plugins disabled", "it wants a plugin, and only those built into kustomize are run"),
        (r"kustomization\.yaml is empty", "the kustomization is empty"),
        (r"kind should be Kustomization or Component", "the kind should be Kustomization or Component"),
        (r"expected kind != 'Component'", "a Component is listed in resources; list it in components"),
        (r"(?:lstat|open|stat) (\S+): no such file or directory", r"\1 does not exist"),
        (r"failed to find unique target for patch " + _ID, r"no single resource matches the patch for \1/\2"),
        (r"\A(?:yaml: )?line (\d+): ([\w\s'/,-]+?)(?: in File: .*)?\Z", r"line \1: \2"),
    )
)

_TYPE: Final = re.compile(
    r"json: cannot unmarshal (\w+) into Go struct field \w+\.([\w.]+) of type ([\w.\[\]{}*]+)"
)


def explain(stderr: str, repository: str, folder: str, *, secret: bool, files: Iterable[str] = ()) -> str:
    """Return `file: cause` for the standard error of a failed build.

    `repository`: where the files lay, a path that no person must see. `folder`: what was built, in the
    repository. `secret`: whether the build holds a Secret, so that unknown words are withheld. `files`: paths of the
    repository among which the kustomizations are; without one, a kustomization is called kustomization.yaml.
    """
    text = "\n".join(line for line in stderr.splitlines() if not _NOTE.match(line))
    text = text.removeprefix("Error: ").strip()
    text = text.replace(f"{repository}/", "").replace(repository, ".")
    known = {dirname(path): basename(path) for path in files if basename(path) in NAMES}
    file, text = _unwrap(text, folder, known)
    if found := _TYPE.search(text):
        return f"{file}: {_field(found[2])} is of type {found[1]}, where {_wanted(found[3])} is wanted"
    for pattern, said in _CAUSES:
        if found := pattern.search(text):
            return f"{file}: {found.expand(said)}"
    if secret or not text:
        return f"{file}: kustomize fails; its words are not shown, as they may quote a Secret: run `kustomize build`"
    return f"{file}: {text.splitlines()[0][:_MAX]}"


def _field(path: str) -> str:
    """Return the path of a field without the structs of Go, which begin with a capital and stand in no file."""
    return ".".join(part for part in path.split(".") if part[:1].islower())


def _wanted(kind: str) -> str:
    """Return in words what a type of Go takes."""
    if kind.startswith("[]"):
        return "a list"
    if kind.startswith("map[") or "." in kind:
        return "a mapping"
    return re.sub(r"^u?int\d*$", "number", kind.lstrip("*"))


def _unwrap(text: str, folder: str, known: Mapping[str, str]) -> tuple[str, str]:
    """Peel the wrappers off; returns the file that they lead to, and the cause."""
    file = ""
    while found := next((match for wrapper in _WRAPPERS if (match := wrapper.match(text))), None):
        groups = found.groupdict()
        if groups.get("folder") is not None:
            folder, file = groups["folder"].strip("/"), ""
        if groups.get("file"):
            file = groups["file"]
        if groups.get("kustomization"):
            file = ""
        text = text[found.end() :]
        if found[0].startswith("accumulation err='") and not found[0].endswith(": "):
            text = re.split(
                r"': (?:must build at|not a valid|couldn't|recursed|failed to run)", text, maxsplit=1
            )[0]
    if folder == OVERLAY:
        return folder, text
    return _normal(join(folder, file or known.get(_normal(folder), NAMES[0]))), text


def _normal(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
