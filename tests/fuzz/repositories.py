"""Makes repositories of kustomizations at random: sound for the most part, so that many of them are built."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import yaml

from setpoint.render.kustomize.kustomization import NAMES

ROOT: Final = "@ROOT@"
"""Stands for the absolute path of the folder above the repository."""


@dataclass(frozen=True)
class Repository:
    """Files and symlinks by path, and the folder that is built. `ROOT` stands for the folder above."""

    path: str
    files: dict[str, str]
    links: dict[str, str] = field(default_factory=dict)


def write(case: Repository, root: Path) -> None:
    """Write it to `root`/repo; beside it lie files that nobody may read."""
    repository = root / "repo"
    repository.mkdir(parents=True)
    (root / "outside.txt").write_text("OUT=side\n")
    (root / "outside.yaml").write_text(_config("outside"))
    (root / "other").mkdir()
    (root / "other/kustomization.yaml").write_text("resources: [../outside.yaml]\n")
    for path, text in case.files.items():
        file = repository / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.replace(ROOT, str(root)).encode("utf-8", "surrogateescape"))
    for path, target in case.links.items():
        if not os.path.lexists(repository / path):
            (repository / path).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(target.replace(ROOT, str(root)), repository / path)


def _config(name: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{key: {name}}}\n"


_BUILTIN: Final = "apiVersion: builtin\nkind: %s\nmetadata: {name: it}\n"
_FILES: Final = {
    "base/web.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  selector: {matchLabels: {app: web}}\n"
    '  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: "nginx:1"}]}}\n',
    "k/a.yaml": _config("a"),
    "k/b.yaml": _config("b"),
    "k/own.txt": "own\n",
    "k/own.env": "A=1\nB=2\n",
    "k/sub/c.yaml": _config("c"),
    "k/sub/c.txt": "c\n",
    "shared/d.yaml": _config("d"),
    "shared/d.json": json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "d"}}),
    "shared/one.txt": "one\n",
    "shared/two.env": "C=3\n",
    "shared/=odd=.txt": "odd\n",
    "shared/merge.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 5}\n",
    "shared/json.yaml": "- {op: add, path: /metadata/annotations, value: {n: '7'}}\n",
    "shared/replacement.yaml": "source: {kind: ConfigMap, name: a, fieldPath: metadata.name}\ntargets: [{select: {kind: Deployment}, fieldPaths: [spec.template.metadata.labels.r], options: {create: true}}]\n",
    "shared/names.yaml": "namePrefix: [{path: metadata/name, kind: ConfigMap}]\n",
    "shared/crd.json": "{}",
    "shared/schema.json": '{"definitions": {}}',
    "k/label.yaml": _BUILTIN % "LabelTransformer" + "labels: {l: m}\nfieldSpecs: [{path: metadata/labels, create: true}]\n",
    "k/gen.yaml": _BUILTIN % "ConfigMapGenerator" + "files: [own.txt]\n",
    "k/exec.yaml": "apiVersion: my/v1\nkind: Exec\nmetadata: {name: x, annotations: {config.kubernetes.io/function: 'exec: {path: ./run}'}}\n",
    "labels/kustomization.yaml": "resources: [label.yaml]\n",
    "labels/label.yaml": _BUILTIN % "LabelTransformer" + "labels: {n: o}\nfieldSpecs: [{path: metadata/labels, create: true}]\n",
}  # fmt: skip
_FOLDERS: Final = ("k", "base", "mid", "comp", "k/sub")
_LINKS: Final = {
    "k/linked.yaml": ("../shared/d.yaml", "a.yaml", "linked.yaml", "../../outside.yaml", f"{ROOT}/outside.yaml", "gone"),
    "k/linked.txt": ("own.txt", "../shared/one.txt", "linked.yaml", "../../outside.txt"),
    "link": ("base", "mid", "k", "..", "link", "shared"),
    "k/up": ("..", ".", "../shared", "../../other"),
    "shared/here": (".", "../k", "../base/web.yaml"),
    "mid/kustomization.yml": ("../shared/m.yaml", "../base/kustomization.yaml"),
}  # fmt: skip
_REMOTE: Final = ("https://127.0.0.1:9/x.yaml", "http:x", "git::https://127.0.0.1:9/a", "github.com/a/b", "git@127.0.0.1:a/b.git", "a.git", "shared/d.yaml?ref=x", "file:///etc/hostname", "ssh://127.0.0.1:9/a")  # fmt: skip
_ODD: Final = ("", ".", "..", "/", "gone.yaml", "shared", "a\nb", "\u00e9", "~", "*.yaml", "k/a.yaml\0", " ", "C:\\x", "$(x)", "1")  # fmt: skip

Make = Callable[["_Maker"], Any]


class _Maker:
    """Makes the kustomization of one folder."""

    def __init__(self, rng: Random, folder: str, links: dict[str, str], odd: float) -> None:
        """`odd`: how likely something is that may well be an error; of four repositories three have none, or little."""
        self.rng, self.folder, self.links, self.odd = rng, folder, links, odd

    def one(self, sound: Sequence[Any], odd: Sequence[Any]) -> Any:
        """Return one of the sound ones; or of the odd ones."""
        return self.rng.choice(odd if self.rng.random() < self.odd else sound)

    def ref(self, *wanted: str) -> str:
        """Write a path: mostly to a wanted file as it should be, else with a detour, by a link, to another, or odd."""
        if self.rng.random() >= self.odd:
            path = self.relative(self.rng.choice(wanted))
            return self.detour(path) if self.rng.random() < 0.2 else path
        chance = 0.84 + 0.16 * self.rng.random()
        if chance < 0.91 and self.links:
            return self.relative(
                self.rng.choice(sorted(self.links))
                + self.rng.choice(("", "", "/d.yaml", "/one.txt", "/web.yaml"))
            )
        if chance < 0.94:
            return self.rng.choice(
                (
                    f"{ROOT}/outside.txt",
                    f"{ROOT}/repo/k/a.yaml",
                    self.relative("../outside.yaml"),
                    self.relative("../other"),
                    f"{ROOT}/other",
                )
            )
        if chance < 0.97:
            return self.relative(self.rng.choice((*_FILES, *_FOLDERS)))
        return self.rng.choice((*_REMOTE, *_ODD))

    def relative(self, path: str) -> str:
        """Write a path as it is from the folder."""
        return os.path.relpath(f"/x/y/{path}", f"/x/y/{self.folder}")

    def detour(self, path: str) -> str:
        """Write the same path in another way."""
        head, _, tail = path.rpartition("/")
        name = self.folder.rpartition("/")[2]
        return self.rng.choice(
            (
                f"./{path}",
                f"{head}//{tail}" if head else f".//{tail}",
                f"../{name}/{path}" if not path.startswith("../") else f"../{path[3:]}",
                f"gone/../{path}",
                f"{head}/./{tail}" if head else path,
            )
        )

    def files(self, *wanted: str) -> list[str]:
        """Write some paths."""
        return [self.ref(*wanted) for _ in range(self.rng.choice((1, 1, 1, 2, 2, 3)))]

    def generator(self) -> dict[str, Any]:
        """Write an entry of a generator."""
        letter = self.folder[-1]
        made: dict[str, Any] = {
            "name": self.one((f"{letter}{self.rng.getrandbits(16)}",), ("g", "h", letter, "a"))
        }
        texts = ("k/own.txt", "shared/one.txt", "k/sub/c.txt")
        odd = ("shared/=odd=.txt", "k/kustomization.yaml", "base/kustomization.yaml")
        if self.rng.random() < 0.7:
            keys = [f"{letter}{number}=" for number in range(3)]
            made["files"] = [
                self.one(("", key) if number == 0 else (key,), ("", "=", "k=l=", " = ", "k="))
                + self.ref(self.one(texts, odd))
                for number, key in enumerate(keys[: self.rng.randint(1, 3)])
            ]
        if self.rng.random() < 0.3:
            made["envs"] = [self.ref("k/own.env"), self.ref("shared/two.env")][: self.rng.randint(1, 2)]
        elif self.rng.random() < 0.15:
            made["env"] = self.ref("k/own.env", "shared/two.env")
        if self.rng.random() < 0.4:
            made["literals"] = ["x=y", self.one(("l=m", "o='p'"), ("n", "=", "x=z"))]
        if self.rng.random() < self.odd:
            made["behavior"] = self.rng.choice(("create", "merge", "replace", "odd"))
        if self.rng.random() < 0.2:
            made["options"] = {"disableNameSuffixHash": True}
        return made

    def patch(self) -> Any:
        """Write an entry of `patches`."""
        merge, json_patch = _FILES["shared/merge.yaml"], _FILES["shared/json.yaml"]
        if self.rng.random() < self.odd:
            made = {
                "path": self.ref("shared/merge.yaml", "shared/json.yaml"),
                "patch": self.rng.choice((merge, json_patch, "k/a.yaml", "", "[]", "x: y")),
            }
            made.pop(self.rng.choice(("path", "patch", "")), None)
            return made
        chosen = {"path": self.ref("shared/json.yaml")} if self.rng.random() < 0.7 else {"patch": json_patch}
        return {**chosen, "target": {"kind": self.rng.choice(("Deployment", "ConfigMap", ".*"))}}

    def plugin(self) -> str:
        """Write an entry of generators, transformers or validators."""
        if self.rng.random() >= self.odd:
            return self.ref("k/label.yaml", "labels") if self.rng.random() < 0.7 else _FILES["k/label.yaml"]
        generator, transformer = _BUILTIN % "ConfigMapGenerator", _BUILTIN % "PatchTransformer"
        texts = (_FILES["k/gen.yaml"], _FILES["k/exec.yaml"], f"{generator}files: [{self.relative('shared/one.txt')}]\n",
                 f"{generator}envs: [own.env, sub/c.txt]\n", f"{transformer}path: own.txt\ntarget: {{kind: ConfigMap}}\n", "x", "a: [", "")  # fmt: skip
        return self.rng.choice((*texts, self.ref("k/gen.yaml", "k/exec.yaml", "k/a.yaml", "k")))

    def content(self, kind: str) -> dict[str, Any]:
        """Write a kustomization as a value."""
        made: dict[str, Any] = {}
        if kind:
            made |= {"apiVersion": "kustomize.config.k8s.io/v1alpha1", "kind": kind}
        below = {"k": ("base", "mid", "k/sub"), "mid": ("base",), "base": (), "comp": (), "k/sub": ()}[
            self.folder
        ]
        own = {
            "k": ("k/a.yaml", "k/b.yaml"),
            "mid": ("shared/d.yaml", "shared/d.json"),
            "base": ("base/web.yaml",),
            "comp": ("shared/d.yaml",),
            "k/sub": ("k/sub/c.yaml",),
        }[self.folder]
        if kind != "Component" or self.rng.random() < 0.3:
            made[self.rng.choice(("resources",) * 9 + ("bases",))] = self._resources(below, own)
        for name, chance, write_entry in _FIELDS:
            if self.rng.random() < chance / (1 if self.folder == "k" else 2):
                made[name] = write_entry(self)
        if self.rng.random() < self.odd / 4:
            made.update([self.rng.choice(_ODD_FIELDS)])
        return made

    def _resources(self, folders: tuple[str, ...], files: tuple[str, ...]) -> list[str]:
        if self.rng.random() < self.odd:
            wanted = self.rng.sample((*folders, *files), self.rng.randint(1, len(folders) + len(files)))
            return [self.ref(each) for each in wanted]
        if len(folders) > 1:  # base comes by mid, too
            folders = self.rng.choice((("base", "k/sub"), ("mid", "k/sub"), ("base",), ("mid",)))
        return [self.ref(each) for each in (*folders, *files)]


_FIELDS: Final[tuple[tuple[str, float, Make], ...]] = (
    ("components", 0.25, lambda m: m.files("comp")),
    ("configMapGenerator", 0.5, lambda m: [m.generator() for _ in range(m.rng.randint(1, 2))]),
    ("secretGenerator", 0.2, lambda m: [m.generator()]),
    ("patches", 0.3, lambda m: [m.patch() for _ in range(m.rng.randint(1, 2))]),
    ("patchesStrategicMerge", 0.15, lambda m: m.files("shared/merge.yaml") if m.rng.random() < 0.7 else [_FILES["shared/merge.yaml"]]),
    ("patchesJson6902", 0.12, lambda m: [{"path": m.ref("shared/json.yaml"), "target": {"version": "v1", "kind": "ConfigMap", "name": "a"}}]),
    ("replacements", 0.15, lambda m: [{"path": m.ref("shared/replacement.yaml")}]),
    ("configurations", 0.12, lambda m: m.files("shared/names.yaml")),
    ("crds", 0.12, lambda m: m.files("shared/crd.json")),
    ("openapi", 0.08, lambda m: {"path": m.ref("shared/schema.json")}),
    ("generators", 0.08, lambda m: [m.plugin()]),
    ("transformers", 0.1, lambda m: [m.plugin()]),
    ("validators", 0.05, lambda m: [m.plugin()]),
    ("namePrefix", 0.2, lambda m: "p-"),
    ("namespace", 0.15, lambda m: m.one(("n", "yes"), (1, None, ""))),
    ("commonLabels", 0.1, lambda m: {"files": "x", "Files": m.one(("y",), (1, True, None))}),
    ("buildMetadata", 0.08, lambda m: ["originAnnotations", "transformerAnnotations"]),
    ("generatorOptions", 0.1, lambda m: {"disableNameSuffixHash": True, "labels": {"env": "z"}}),
)  # fmt: skip


_ODD_FIELDS: Final[tuple[tuple[str, Any], ...]] = (
    ("helmCharts", [{"name": "x"}]),
    ("odd", 1),
    *(("resources", value) for value in (None, "k/a.yaml", [None, 1, "a.yaml"], [["a.yaml"]], [])),
)


def make(rng: Random) -> Repository:
    """Make a repository of five kustomizations."""
    odd = rng.choice((0.0, 0.0, 0.03, 0.2))
    chance = {True: odd / 2, False: 0.5}
    links = {
        path: rng.choice(targets)
        for path, targets in _LINKS.items()
        if rng.random() < chance["kustomization" in path]
    }
    files = dict(_FILES)
    for folder in _FOLDERS:
        kind = "Component" if folder == "comp" else rng.choice(("", "", "", "Kustomization"))
        if kind == "Kustomization":
            kind = ""
        text = _text(rng, _Maker(rng, folder, links, odd).content(kind), odd)
        if rng.random() >= odd / 8:
            files[f"{folder}/{rng.choice(NAMES)}"] = text
        if rng.random() < odd / 8:
            files[f"{folder}/{rng.choice(NAMES)}"] = text
        if folder == "mid":
            files["shared/m.yaml"] = text
    return Repository(rng.choice(("k",) * 8 + ("mid", "link", "k/")), files, links)


def _text(rng: Random, content: dict[str, Any], odd: float) -> str:
    """Write it down in one of the ways that YAML has."""
    if rng.random() < odd:
        content = _spelled(rng, content)
    chance = rng.random()
    if chance < 0.4:
        text = json.dumps(content)
    elif chance < 0.7:
        text = yaml.safe_dump(content, sort_keys=False, width=1000, allow_unicode=True)
    else:
        text = yaml.safe_dump(content, default_flow_style=True, width=1000)
    return _mutated(rng, text) if rng.random() < odd or rng.random() < 0.05 else text


def _spelled(rng: Random, value: Any) -> Any:
    """Write some keys in other letters, or twice."""
    if isinstance(value, list):
        return [_spelled(rng, each) for each in value]
    if not isinstance(value, dict):
        return value
    made: dict[str, Any] = {}
    for key, each in value.items():
        other = rng.choice(
            (key.upper(), key.capitalize(), key.replace("s", "\u017f"), key.replace("k", "\u212a"), f"{key} ")
        )
        if rng.random() < 0.06:
            made[other] = rng.choice((each, [], None))
        made[other if rng.random() < 0.1 else key] = _spelled(rng, each)
    return made


def _mutated(rng: Random, text: str) -> str:
    """Change how it is written: a key twice, an anchor, a tag, another document, ends of lines, something odd."""
    lines = text.splitlines(keepends=True)
    where = rng.randint(0, len(lines))
    return rng.choice(
        (
            lambda: text.replace("\n", "\r\n"),
            lambda: "\ufeff" + text,
            lambda: "".join([*lines[:where], *lines[max(0, where - 1) :]]),
            lambda: text + rng.choice(("---\nresources: [gone]\n", "...\nx: y\n", "\n# end", "---\n", "{}\n")),
            lambda: "---\n" + text,
            lambda: "# c\n" + text,
            lambda: text.replace("[", "[&a ", 1) + "\n",
            lambda: text.replace(": ", ": !!str ", 1),
            lambda: text.replace("- ", "- &a ", 1).replace("- ", "- *a\n- ", 2),
            lambda: text.replace("'", '"').replace("a.yaml", "a.y\\u0061ml"),
            lambda: text.replace("resources", '"resources"', 1),
            lambda: text.replace("resources", "? resources\n", 1),
            lambda: text[:where] + rng.choice(("\t", "\u2028", "\x85", "\0", "\udcff", "<<: {namePrefix: q-}\n", "0x10: y\n", "yes: no\n")) + text[where:],
        )
    )()  # fmt: skip


def less(text: str) -> Iterator[str]:
    """Return what is left of a kustomization without one of its entries, at any depth; nothing if it is no plain YAML."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, UnicodeError):
        return
    if isinstance(value, dict):
        yield from (json.dumps(each) for each in _without(value))


def _without(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield {name: other for name, other in value.items() if name != key}
            yield from ({**value, key: smaller} for smaller in _without(each))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield [*value[:number], *value[number + 1 :]]
            yield from ([*value[:number], smaller, *value[number + 1 :]] for smaller in _without(each))
