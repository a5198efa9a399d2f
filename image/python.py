"""Locked Python packages and the operator -> folders of the image, without what is never imported, compiled in advance.

In: requirements.lock with its hashes, the sources, and a root folder with the image's Python. Out: files below
`dist-packages`. Compiling is done by that very Python, so that nothing depends on the one that runs this.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from image.layout import (
    INTERPRETER,
    PACKAGES,
    PROGRAMS,
    PYTHON,
    ROOT,
    STANDARD,
    ImageError,
    description,
    version,
)

LOCK = ROOT / "requirements.lock"
GLIBC = 36  # of Debian 12: 2.36
# Sources of compiled modules, stubs for type checkers, and notes of installers.
DROPPED = ("*.pyx", "*.pxd", "*.pxi", "*.pyi", "*.c", "*.h", "*.cpp", "*.hash", "py.typed", "*.so.a")
NOTES = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "top_level.txt", "zip-safe")
# The clients for each kind and their models: 120 MB of which three are ever imported, by kopf.
GENERATED = (
    "kubernetes/client/api",
    "kubernetes/client/models",
    "kubernetes/aio/client/api",
    "kubernetes/aio/client/models",
)
KEPT = ("__init__", "v1_managed_fields_entry", "v1_object_meta", "v1_owner_reference")
TESTS = ("test", "tests", "e2e_test")
METADATA = f"""\
Metadata-Version: 2.1
Name: setpoint
Version: {{version}}
Summary: {{description}}
License: Apache-2.0
Requires-Python: >={PYTHON}
"""
LAUNCHER = f"""\
#!{INTERPRETER} -I
import sys

from setpoint.__main__ import main

sys.exit(main())
"""


def dependencies(target: Path, machine: str) -> None:
    """Install what requirements.lock names, for the image's Python. Raises ImageError."""
    folder = target / PACKAGES
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
        *("--require-hashes", "--no-deps", "--only-binary=:all:", "--target", str(folder)),
        *("--implementation=cp", f"--python-version={PYTHON}"),
        *(f"--abi={abi}" for abi in (f"cp{PYTHON.replace('.', '')}", "abi3", "none")),
        *(f"--platform={platform}" for platform in platforms(machine)),
        *("--requirement", str(LOCK)),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ImageError(f"pip cannot install requirements.lock: {result.stderr.strip()[-2000:]}")
    shutil.rmtree(folder / "bin", ignore_errors=True)  # of other people's command lines
    prune(folder)


def platforms(machine: str) -> list[str]:
    """The tags of wheels that run on the image's C library, the newest first."""
    old = [f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}", "any"]
    return [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 16, -1)] + old


def prune(folder: Path) -> None:
    """Remove what is never imported from a folder of installed packages."""
    for path in list(_files(folder)):
        if not is_kept(path.relative_to(folder).as_posix()):
            path.unlink()
    for place, _, _ in os.walk(folder, topdown=False):
        if not any(Path(place).iterdir()):
            Path(place).rmdir()


def is_kept(name: str) -> bool:
    """Return whether a file of an installed package belongs into the image; `name` is its path below dist-packages."""
    path = Path(name)
    if path.parent.as_posix() in GENERATED:
        return path.stem in KEPT
    if any(part in TESTS for part in path.parts[:-1]):
        return False
    if path.parts[0].endswith(".dist-info"):
        return path.name not in NOTES
    return not any(fnmatch.fnmatch(path.name, pattern) for pattern in DROPPED)


def application(target: Path) -> None:
    """Copy the operator, with a command of its name and the note that it is installed."""
    folder = target / PACKAGES
    shutil.copytree(
        ROOT / "operator/setpoint", folder / "setpoint", ignore=shutil.ignore_patterns("__pycache__")
    )
    note = folder / f"setpoint-{version()}.dist-info"
    note.mkdir()
    (note / "METADATA").write_text(METADATA.format(version=version(), description=description()))
    shutil.copy(ROOT / "LICENSE", note)
    program = target / PROGRAMS / "setpoint"
    program.parent.mkdir(parents=True)
    program.write_text(LAUNCHER)
    program.chmod(0o755)


def compile_all(root: Path, target: Path, folder: str) -> None:
    """Compile the modules below `target`/`folder` with the Python in `root`, to be trusted without a look at the source."""
    options = ["-q", "-j", "1", "--invalidation-mode", "unchecked-hash", "-s", str(target), "-p", "/"]
    result = run(root, "-m", "compileall", *options, str(target / folder))
    if result.returncode:
        raise ImageError(f"compiling {folder} failed: {(result.stdout + result.stderr).strip()[-2000:]}")


def run(root: Path, *arguments: str, path: Iterable[Path] = ()) -> subprocess.CompletedProcess[str]:
    """Run the Python of a root folder, through the loader and with the libraries that came with it."""
    loaders = [*root.glob("lib64/ld-linux-*.so.*"), *root.glob("lib/ld-linux-*.so.*")]
    if not loaders:
        raise ImageError(f"{root} has no loader for programs")
    libraries = ":".join(
        str(folder) for pattern in ("lib/*-linux-gnu", "usr/lib/*-linux-gnu") for folder in root.glob(pattern)
    )
    environment = {
        "PYTHONHOME": str(root / "usr"),
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "PYTHONHASHSEED": "0",  # constant sets are written in this order
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
    }
    command = [str(loaders[0]), "--library-path", libraries, str(root / INTERPRETER.lstrip("/"))]
    return subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def installed(folder: Path) -> list[tuple[str, str, str]]:
    """Name, version and licence of each package in a folder, sorted."""
    found = []
    for path in folder.glob("*.dist-info/METADATA"):
        head = path.read_text(errors="replace").partition("\n\n")[0]
        fields = dict(re.findall(r"^(Name|Version|License-Expression): (.*)$", head, re.MULTILINE))
        found.append((fields["Name"], fields["Version"], fields.get("License-Expression", "")))
    return sorted(found, key=lambda each: each[0].lower())


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for name in names:
            yield Path(place) / name


__all__ = ["STANDARD", "application", "compile_all", "dependencies", "installed", "is_kept", "prune", "run"]
