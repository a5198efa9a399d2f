"""`python -m image`: the operator's image, by Docker where an engine answers, else as an archive that every tool takes.

python -m image                      build it; the last line is IMAGE=<reference, or path of the archive>
python -m image --archive            the archive in any case
python -m image root FOLDER          the files alone, without the tools: what the Dockerfile calls
python -m image arguments            what `docker buildx build` is told of the base images
python -m image bases                ask the registry, by Docker, which images the tags of the bases name now
python -m image release [--key KEY]  archive, chart, bills of materials, checksums and maybe a signature, in dist/release
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from image import bases, debian, layout, python
from image.layout import ROOT, ImageError

DIST = ROOT / "dist"
DOCKERFILE = ROOT / "image/Dockerfile"
MEGABYTE = 10**6
COMMANDS = ("build", "root", "arguments", "bases", "release")


def main(arguments: list[str]) -> int:
    """Build; progress and errors go to stderr."""
    parser = argparse.ArgumentParser(prog="python -m image", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("command", nargs="?", choices=COMMANDS, default="build")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--archive", action="store_true", help="no Docker, even where it answers")
    parser.add_argument("--key", type=Path, help="a private key of ECDSA in PEM, to sign a release")
    chosen = parser.parse_args(arguments)
    try:
        match chosen.command:
            case "root":
                _root(chosen.folder)
            case "arguments":
                print(*bases.arguments(bases.locked()))
            case "bases":
                bases.refresh()
            case "release":
                _release(chosen.key)
            case _:
                _build(archive=chosen.archive)
    except (ImageError, RuntimeError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"[setpoint] {error}\n")
        return 1
    return 0


def _root(folder: Path) -> None:
    """Three folders, which become three layers."""
    base, dependencies, application = (folder / name for name in ("base", "dependencies", "application"))
    for each in (base, dependencies, application):
        each.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as work:
        debian.unpack(debian.packages(), base, Path(work))
    python.dependencies(dependencies, os.uname().machine)
    python.application(application)
    python.compile_all(base, base, layout.STANDARD)
    for each in (dependencies, application):
        python.compile_all(base, each, layout.PACKAGES)


def _build(*, archive: bool) -> None:
    from tests.kit.cluster.foreign import docker_answers  # noqa: PLC0415 - `root` runs where only Python is

    if docker_answers() and not archive:
        command = [
            "docker",
            "buildx",
            "build",
            "--load",
            *bases.arguments(bases.locked()),
            f"--tag={layout.reference()}",
            f"--file={DOCKERFILE}",
        ]
        subprocess.run([*command, str(ROOT)], check=True)
        print(f"IMAGE={layout.reference()}", flush=True)
        return
    from image.build import build  # noqa: PLC0415 - see above

    built = build()
    DIST.mkdir(exist_ok=True)
    target = DIST / f"setpoint-{layout.version()}.oci.tar"
    shutil.copy(built.archive.path, target)
    shutil.copy(built.sbom, DIST / f"setpoint-{layout.version()}.spdx.json")
    size = f"{built.archive.size / MEGABYTE:.1f} MB compressed"
    sys.stderr.write(f"[setpoint] image {layout.reference()}: {size}, manifest {built.archive.digest}\n")
    print(f"IMAGE={target.relative_to(ROOT)}", flush=True)


def _release(key: Path | None) -> None:
    from image.build import build  # noqa: PLC0415 - see above
    from image.release import release  # noqa: PLC0415 - see above

    for path in release(build(), DIST / "release", key):
        print(path.relative_to(ROOT), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
