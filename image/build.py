"""The parts of the image, each made once for the same inputs, and the archive of all of them.

In: this checkout, what apt would install, the cache. Out: an OCI archive and its bill of materials. A part is looked up by a
digest of everything that decides its content, so after a change of the operator only the operator is packed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.kit.cluster import binaries

from image import debian, layout, oci, python, sbom
from image.layout import ROOT
from image.sbom import Component

KEPT = 6  # of each part, so that a few checkouts can share the cache


@dataclass(frozen=True)
class Built:
    """The finished image, and the path of its bill of materials."""

    archive: oci.Archive
    sbom: Path


@dataclass(frozen=True)
class Part:
    """One layer: `make` fills a folder with it, and tells of what it is made."""

    name: str
    key: str
    make: Callable[[Path], Iterable[Component]]


@dataclass(frozen=True)
class Layer:
    """A layer in the cache."""

    blob: oci.Blob
    components: tuple[Component, ...]


def build() -> Built:
    """Return the image of this checkout, from the cache as far as it is there. Raises ImageError, BuildError."""
    programs = binaries.ensure(*layout.TOOLS)
    chosen = debian.packages()
    store = binaries.cache() / "image"
    store.mkdir(parents=True, exist_ok=True)
    with binaries.lock(store / ".lock", "the image"):
        base = _base(chosen)
        layers = [_layer(store, part) for part in (base, _tools(programs), *_python(store, base))]
        return _archive(store, layers)


def _base(chosen: tuple[debian.Package, ...]) -> Part:
    def make(folder: Path) -> list[Component]:
        with tempfile.TemporaryDirectory() as work:
            debian.unpack(chosen, folder, Path(work))
        python.compile_all(folder, folder, layout.STANDARD)
        return [sbom.of_debian(p.name, p.version, p.architecture, p.source) for p in chosen]

    return Part("base", _digest([_recipe(), *(f"{p.pinned} {p.architecture}" for p in chosen)]), make)


def _tools(programs: dict[str, Path]) -> Part:
    def make(folder: Path) -> list[Component]:
        target = folder / layout.PROGRAMS
        target.mkdir(parents=True)
        for name, path in programs.items():
            shutil.copy(path, target / name)
        return [component for path in programs.values() for component in sbom.of_go(path)]

    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in programs.values()]
    return Part("tools", _digest([_recipe(), *contents]), make)


def _python(store: Path, base: Part) -> tuple[Part, Part]:
    """What is compiled by the Python of the base."""

    def dependencies(folder: Path) -> list[Component]:
        with _unpacked(store, base) as root:
            python.dependencies(folder, os.uname().machine)
            python.compile_all(root, folder, layout.PACKAGES)
        return [sbom.of_python(*each) for each in python.installed(folder / layout.PACKAGES)]

    def application(folder: Path) -> list[Component]:
        with _unpacked(store, base) as root:
            python.application(folder)
            python.compile_all(root, folder, layout.PACKAGES)
        return []  # it is what the document is about

    files = [path for path in (ROOT / "operator/setpoint").glob("**/*") if path.is_file()]
    code = sorted(path for path in files if "__pycache__" not in path.parts)
    sources = [ROOT / "pyproject.toml", ROOT / "LICENSE", *code]
    recipe = [_recipe(), base.key]
    return (
        Part("dependencies", _digest([*recipe, python.LOCK.read_text()]), dependencies),
        Part("application", _digest([*recipe, *map(_named, sources)]), application),
    )


def _archive(store: Path, layers: list[Layer]) -> Built:
    name, _, tag = layout.reference().partition(":")
    components = [component for layer in layers for component in layer.components]
    document = sbom.document(name, tag, "Apache-2.0", components)
    config = layout.config()
    key = _digest([_recipe(), json.dumps(config), *(layer.blob.digest for layer in layers)])
    folder = store / f"archive-{key}"
    target, note = folder / "image.tar", folder / "sbom.spdx.json"
    if not folder.exists():
        partial = _partial(folder)
        (partial / note.name).write_bytes(document)
        with tempfile.TemporaryDirectory() as temporary:
            inside = Path(temporary) / layout.SBOM
            inside.parent.mkdir(parents=True)
            inside.write_bytes(document)
            blobs: list[Path | oci.Blob] = [*(layer.blob for layer in layers), Path(temporary)]
            made = oci.assemble(partial / target.name, layout.reference(), blobs, config)
        _write(partial / "archive.json", {"digest": made.digest, "size": made.size})
        partial.rename(folder)
        _forget(store, "archive")
    known = json.loads((folder / "archive.json").read_text())
    return Built(oci.Archive(target, layout.reference(), known["digest"], known["size"]), note)


def _layer(store: Path, part: Part) -> Layer:
    folder = store / f"{part.name}-{part.key}"
    if not folder.exists():
        binaries.say(f"image: making {part.name}")
        partial = _partial(folder)
        with tempfile.TemporaryDirectory(dir=store) as temporary:
            components = sorted(part.make(Path(temporary)))
            blob = oci.pack(Path(temporary), partial / "layer")
        about = {"digest": blob.digest, "size": blob.size, "diff_id": blob.diff_id}
        _write(partial / "layer.json", {**about, "components": [asdict(each) for each in components]})
        partial.rename(folder)
        _forget(store, part.name)
    os.utime(folder)  # it is in use
    known = json.loads((folder / "layer.json").read_text())
    components = [Component(**each) for each in known.pop("components")]
    return Layer(oci.Blob(folder / "layer", **known), tuple(components))


@contextmanager
def _unpacked(store: Path, base: Part) -> Iterator[Path]:
    """The files of the base, in a temporary folder."""
    layer = _layer(store, base)
    with tempfile.TemporaryDirectory(dir=store) as temporary, tarfile.open(layer.blob.path) as archive:
        archive.extractall(temporary, filter="fully_trusted")  # noqa: S202 - we have packed it
        yield Path(temporary)


def _partial(folder: Path) -> Path:
    """Under another name first: a folder that exists is always whole."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    return partial


def _forget(store: Path, name: str) -> None:
    found = sorted(store.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime)
    for folder in found[:-KEPT]:
        shutil.rmtree(folder)


def _recipe() -> str:
    """How the image is made counts as an input of each part."""
    return "\0".join([*map(_named, sorted(Path(__file__).parent.glob("*.py"))), os.uname().machine])


def _named(path: Path) -> str:
    return f"{path.relative_to(ROOT)}\0{path.read_text()}"


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document, sort_keys=True))
