"""The image that `make image` makes: what is in it, that it works, and that making it again gives the same bytes."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from image import build, layout, oci, python
from image.build import Built
from image.release import release

from setpoint.codegen import crds

LARGEST = 250 * 10**6
IMPORT_ALL = """
import importlib, pkgutil
import setpoint, uvloop
for module in pkgutil.walk_packages(setpoint.__path__, "setpoint."):
    importlib.import_module(module.name)
print(setpoint.__file__)
"""


def layers(archive: Path) -> list[bytes]:
    """Return the layers of an archive, as compressed, the lowest first."""
    with tarfile.open(archive) as file:

        def blob(digest: str) -> bytes:
            entry = file.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
            assert entry
            return entry.read()

        index = file.extractfile("index.json")
        assert index
        manifest = json.loads(blob(json.load(index)["manifests"][0]["digest"]))
        return [blob(layer["digest"]) for layer in manifest["layers"]]


@pytest.fixture(scope="module")
def root(image: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files of the image, in a folder."""
    folder = tmp_path_factory.mktemp("root")
    for number, content in enumerate(layers(image.archive.path)):
        path = folder / f"layer-{number}"
        path.write_bytes(content)
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="fully_trusted")
        path.unlink()
    return folder


@pytest.fixture(scope="module")
def packages(root: Path) -> Path:
    return root / layout.PACKAGES


def test_everything_that_the_operator_imports_is_there(root: Path, packages: Path) -> None:
    answer = python.run(root, "-c", IMPORT_ALL, path=[packages])
    assert (answer.stderr, answer.returncode) == ("", 0)
    assert answer.stdout.strip() == str(packages / "setpoint/__init__.py")


def test_nothing_is_compiled_at_the_start(root: Path, packages: Path) -> None:
    verbose = python.run(root, "-v", "-c", "import setpoint.manager.kopf_watch", path=[packages])
    assert verbose.returncode == 0
    loaded = [line for line in verbose.stderr.splitlines() if line.startswith("# code object from")]
    assert [line for line in loaded if "/manager/__pycache__/kopf_watch." in line]
    assert [line for line in loaded if line.endswith(".py'")] == []


def test_the_operator_is_the_one_of_this_checkout(root: Path, packages: Path) -> None:
    answer = python.run(root, "-m", "setpoint", "crds", path=[packages])
    assert (answer.stderr, answer.stdout) == ("", crds.to_yaml())


@pytest.mark.parametrize("name", layout.TOOLS)
def test_the_renderers_are_there(root: Path, name: str) -> None:
    program = root / layout.PROGRAMS / name
    assert subprocess.run([program, "version"], capture_output=True, check=True).stdout


def test_it_has_no_shell_and_no_package_manager(root: Path) -> None:
    programs = {
        path.name
        for folder in ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin")
        for path in root.glob(f"{folder}/*")
    }
    assert programs == {f"python{layout.PYTHON}", "setpoint", *layout.TOOLS}


def test_its_user_has_a_name_and_no_rights(root: Path) -> None:
    lines = (root / "etc/passwd").read_text().splitlines()
    assert f"setpoint:x:{layout.USER}:{layout.USER}:setpoint:/tmp:/sbin/nologin" in lines
    writable = [p for p in root.rglob("*") if not p.is_symlink() and p.stat().st_mode & 0o002]
    assert {str(path.relative_to(root)) for path in writable} == {"tmp", "var/tmp"}


def test_authorities_are_where_both_kinds_of_openssl_look(root: Path) -> None:
    assert (root / "usr/lib/ssl/cert.pem").readlink() == Path(layout.CERTIFICATES)
    assert (root / layout.CERTIFICATES.lstrip("/")).read_text().count("BEGIN CERTIFICATE") > 100


def test_licences_go_along(root: Path, packages: Path) -> None:
    assert (root / "usr/share/doc/libc6/copyright").exists()
    assert list(packages.glob("setpoint-*.dist-info/LICENSE"))
    assert list(packages.glob("kopf-*.dist-info/**/LICENSE*"))


def test_the_bill_of_materials_is_beside_it_and_inside(image: Built, root: Path) -> None:
    assert (root / layout.SBOM).read_bytes() == image.sbom.read_bytes()
    urls = [p["externalRefs"][0]["referenceLocator"] for p in json.loads(image.sbom.read_text())["packages"]]
    for start in (
        "pkg:deb/debian/libc6@",
        "pkg:pypi/kopf@",
        "pkg:golang/sigs.k8s.io/kustomize/kustomize/v5@",
        "pkg:golang/stdlib@",
    ):
        assert [url for url in urls if url.startswith(start)], start
    assert not [url for url in urls if "helm.sh" in url]
    locked = {line.partition("==")[0] for line in python.LOCK.read_text().splitlines() if "==" in line}
    assert {url[9:].partition("@")[0] for url in urls if url.startswith("pkg:pypi/")} == locked


def test_it_is_released_as_it_is(image: Built, tmp_path: Path) -> None:
    paths = {path.name: path for path in release(image, tmp_path / "release")}
    name = f"setpoint-{layout.version()}"
    assert paths[f"{name}.oci.tar"].read_bytes() == image.archive.path.read_bytes()
    assert paths[f"{name}.spdx.json"].read_bytes() == image.sbom.read_bytes()
    chart = json.loads(paths[f"{name}.chart.spdx.json"].read_text())
    urls = [each["externalRefs"][0]["referenceLocator"] for each in chart["packages"]]
    assert f"pkg:oci/setpoint@{image.archive.digest.replace(':', '%3A')}" in urls


def test_it_is_small(image: Built) -> None:
    print(f"\nimage: {image.archive.size / 10**6:.1f} MB compressed")
    assert image.archive.size < LARGEST


def test_it_comes_from_the_cache(image: Built) -> None:
    before = image.archive.path.stat()
    again = build.build()
    assert again == image
    assert again.archive.path.stat().st_mtime_ns == before.st_mtime_ns


def test_made_again_it_is_the_same(image: Built, root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "application"
    folder.mkdir()
    python.application(folder)
    python.compile_all(root, folder, layout.PACKAGES)
    made = oci.pack(folder, tmp_path / "layer")
    assert made.path.read_bytes() in layers(image.archive.path)
