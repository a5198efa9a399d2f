"""The table of fields is what kustomize's source says, where that source is at hand."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.kit.cluster import binaries

from setpoint.render.kustomize.types import KUSTOMIZATION, Leaf, Many, Shape, Struct

_FIELD = re.compile(r"^\s+(?:(\w+)\s+)?([\w.*\[\]{}]+)\s+`json:\"([^\",]*)", re.MULTILINE)
_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)


def kustomize_source(module: str, folder: str) -> list[str]:
    """The files of a package of kustomize, of the version that the tests build; skips where they are not at hand."""
    command = ["go", "list", "-mod=mod", "-m", "-f", "{{.Dir}}", module]
    try:
        done = subprocess.run(
            command, cwd=binaries.TOOLS / "common", capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("Go is not at hand")
    if not done.stdout.strip():
        pytest.skip("the source of kustomize is not in Go's module cache")
    return [file.read_text() for file in (Path(done.stdout.strip()) / folder).glob("*.go")]


def _sources() -> dict[str, str]:
    """Name -> body of each struct of api/types and of kyaml's resid."""
    packages = (("sigs.k8s.io/kustomize/api", "types"), ("sigs.k8s.io/kustomize/kyaml", "resid"))
    texts = [text for package in packages for text in kustomize_source(*package)]
    return {name: body for text in texts for name, body in _STRUCT.findall(text)}


def _fields(name: str, structs: dict[str, str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for own, kind, json_name in _FIELD.findall(structs[name]):
        if own and json_name:
            fields[json_name] = kind
        else:  # embedded: its fields are this one's
            fields |= _fields(kind.split(".")[-1], structs)
    return fields


def _same(shape: Shape, kind: str, structs: dict[str, str], where: str) -> None:
    bare = kind.replace("*", "").removeprefix("[]").split(".")[-1]
    if bare not in structs or kind.startswith("map["):
        assert isinstance(shape, Leaf), where
        assert (shape is Leaf.MAP) == kind.startswith("map["), where
        return
    assert isinstance(shape, Many) == kind.startswith("[]"), where
    struct = shape.of if isinstance(shape, Many) else shape
    assert isinstance(struct, Struct), where
    fields = _fields(bare, structs)
    assert set(struct.fields) == set(fields), where
    for name, each in fields.items():
        _same(struct.fields[name], each, structs, f"{where}.{name}")


def test_the_table_has_every_field_of_kustomize_and_no_other() -> None:
    _same(KUSTOMIZATION, "Kustomization", _sources(), "kustomization")
