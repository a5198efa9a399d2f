"""Every field of a kustomization means what it means to kustomize, or is left out with a reason and words of its own.

The fields are those of kustomize's source (`test_kustomize_types`), so a field of a newer version fails here until it has a
case or a reason. A case counts for a field only if kustomize makes something else of it without the field.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.render.conftest import sync_spec
from tests.render.kustomize_cases import BASE, CASES, LEFT_OUT, WITHOUT_EFFECT
from tests.render.kustomize_page import PAGE, page
from tests.render.test_kustomize_types import kustomize_source

from setpoint.api.reasons import Problem
from setpoint.objects import documents
from setpoint.render.inputs import gather
from setpoint.render.kustomize.kustomization import NAMES
from setpoint.render.kustomize.types import KUSTOMIZATION, Leaf, Many, Shape, Struct
from setpoint.render.renderer import Renderer
from setpoint.tree.local import LocalTree

Case = str | Mapping[str, str]
Built = list[Any] | str
"""Objects in their order, or the words of a failure."""
UNCACHED = 4


def files_of(case: Case) -> dict[str, str]:
    return {**BASE, **({"k/kustomization.yaml": case} if isinstance(case, str) else case)}


def write(root: Path, files: Mapping[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, newline="")
    return root


def fields_of(shape: Shape, at: str = "") -> Iterator[tuple[str, bool]]:
    """Every field with its path, and whether it holds no others."""
    struct = shape.of if isinstance(shape, Many) else shape
    for name, each in struct.fields.items() if isinstance(struct, Struct) else ():
        yield f"{at}{name}", isinstance(each, Leaf)
        yield from fields_of(each, f"{at}{name}.")


def used(value: Any, shape: Shape = KUSTOMIZATION, at: str = "") -> set[str]:
    """The paths of the fields that a kustomization has."""
    if isinstance(value, list):
        return {path for each in value for path in used(each, shape, at)}
    struct = shape.of if isinstance(shape, Many) else shape
    if not isinstance(struct, Struct):
        return set()
    found = {f"{at}{name}" for name in value}
    return found.union(*(used(each, struct.fields[name], f"{at}{name}.") for name, each in value.items()))


def without(value: Any, path: list[str]) -> Any:
    """A copy that lacks the field, wherever it stands."""
    if isinstance(value, list):
        return [without(each, path) for each in value]
    kept = {name: each for name, each in value.items() if len(path) > 1 or name != path[0]}
    return {name: without(each, path[1:]) if name == path[0] else each for name, each in kept.items()}


def kustomizations(case: Case) -> Iterator[tuple[str, Any]]:
    """The kustomization files of a case itself, as path and content."""
    for path, text in files_of(case).items():
        if path.rpartition("/")[2] in NAMES and path not in BASE:
            yield path, next(iter(documents.parse(text.encode(), path))).value


def excused(field: str, fields: Any) -> bool:
    return any(field == each or field.startswith(f"{each}.") for each in fields)


def alone(kustomize: Path, folder: Path) -> tuple[int, bytes]:
    """What kustomize makes of a folder: exit code, and its output or its words."""
    command = [str(kustomize), "build", str(folder), "--load-restrictor", "LoadRestrictionsNone"]
    done = subprocess.run(
        command, capture_output=True, check=False, env={**os.environ, "PATH": "", "GOGC": "off"}
    )
    return done.returncode, done.stdout if done.returncode == 0 else done.stderr


def all_alone(kustomize: Path, folders: list[Path]) -> list[tuple[int, bytes]]:
    with ThreadPoolExecutor(UNCACHED) as pool:
        return list(pool.map(lambda folder: alone(kustomize, folder), folders))


async def all_ours(renderer: Renderer, places: list[tuple[Path, dict[str, Any]]]) -> list[Built]:
    """What Setpoint makes of a spec in each repository."""

    async def one(root: Path, fields: dict[str, Any]) -> Built:
        tree, spec = LocalTree(root), sync_spec(**fields)
        try:
            made = await renderer.render(tree, spec, await asyncio.to_thread(gather, tree, spec))
        except Problem as problem:
            return problem.message
        return [each.manifest for each in made.objects]

    return await asyncio.gather(*(one(*place) for place in places))


def objects(built: tuple[int, bytes]) -> Built:
    if built[0]:
        return built[1].decode()
    return [each.manifest for each in documents.load(built[1], "alone")]


def differing(names: list[str], theirs: list[tuple[int, bytes]], ours: list[Built]) -> dict[str, Any]:
    """The cases of which the two make something else, for the message of a failed test."""
    found = {name: (objects(a), b) for name, a, b in zip(names, theirs, ours, strict=True)}
    return {name: pair for name, pair in found.items() if isinstance(pair[0], str) or pair[0] != pair[1]}


LEFT = [field for each in LEFT_OUT for field in each.fields]
FIELDS = dict(fields_of(KUSTOMIZATION))
HAVING: dict[str, list[str]] = {}
for _name, _case in CASES.items():
    for _field in set().union(*(used(content) for _, content in kustomizations(_case))):
        HAVING.setdefault(_field, []).append(_name)


def test_every_field_has_a_case_or_is_left_out_with_a_reason() -> None:
    assert {field for field in FIELDS if field not in HAVING and not excused(field, LEFT)} == set()
    assert {field for field in (*LEFT, *WITHOUT_EFFECT) if field not in FIELDS} == set()


async def test_every_case_is_built_as_kustomize_builds_it(
    kustomize: Path, renderer: Renderer, tmp_path: Path
) -> None:
    roots = [write(tmp_path / f"{number}", files_of(case)) for number, case in enumerate(CASES.values())]
    theirs = await asyncio.to_thread(all_alone, kustomize, [root / "k" for root in roots])
    ours = await all_ours(renderer, [(root, {"path": "k"}) for root in roots])
    assert differing(list(CASES), theirs, ours) == {}
    changed = await asyncio.to_thread(_without_each, kustomize, tmp_path, theirs)
    assert changed == {}, "these fields have no case that kustomize builds otherwise without them"


def _without_each(kustomize: Path, folder: Path, whole: list[tuple[int, bytes]]) -> dict[str, list[str]]:
    """The fields of whose cases none is built otherwise without the field, with these cases."""
    numbers = {name: number for number, name in enumerate(CASES)}
    asked = [field for field, leaf in FIELDS.items() if leaf and not excused(field, (*LEFT, *WITHOUT_EFFECT))]

    def same(field: str) -> bool:
        for name in HAVING[field]:
            root = folder / f"without-{field}-{numbers[name]}"
            lacking = {
                path: json.dumps(without(each, field.split(".")))
                for path, each in kustomizations(CASES[name])
            }
            write(root, {**files_of(CASES[name]), **lacking})
            if alone(kustomize, root / "k")[1] != whole[numbers[name]][1]:
                return False
        return True

    with ThreadPoolExecutor(UNCACHED) as pool:
        found = zip(asked, pool.map(same, asked), strict=True)
        return {field: HAVING[field] for field, unchanged in found if unchanged}


async def test_what_is_left_out_is_an_error_in_its_own_words(
    kustomize: Path, renderer: Renderer, tmp_path: Path
) -> None:
    roots = [write(tmp_path / f"{number}", files_of(each.case)) for number, each in enumerate(LEFT_OUT)]
    ours = await all_ours(renderer, [(root, {"path": "k"}) for root in roots])
    assert dict(zip([each.what for each in LEFT_OUT], ours, strict=True)) == {
        each.what: each.words for each in LEFT_OUT
    }
    local = [(root, each) for root, each in zip(roots, LEFT_OUT, strict=True) if each.builds]
    built = await asyncio.to_thread(all_alone, kustomize, [root / "k" for root, _ in local])
    assert [each.what for (_, each), (code, _) in zip(local, built, strict=True) if code] == []


def test_every_plugin_that_is_built_into_kustomize_has_a_case() -> None:
    source = kustomize_source("sigs.k8s.io/kustomize/api", "internal/plugins/builtinhelpers")
    named = {
        kind
        for text in source
        for kind in re.findall(r"^\t(\w+):\s+(?:builtins\.)?New\w+,$", text, re.MULTILINE)
    }
    assert "LabelTransformer" in named
    cases = json.dumps(
        [[files_of(case) for case in CASES.values()], [files_of(each.case) for each in LEFT_OUT]]
    )
    assert {kind for kind in named if f"kind: {kind}\\n" not in cases} == set()


def test_the_page_says_what_is_tested_here() -> None:
    assert PAGE.read_text() == page(PAGE.read_text()), "run python -m tests.render.kustomize_page"
