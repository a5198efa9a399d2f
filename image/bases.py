"""The images that the Dockerfile begins with, each by its digest: what a tag names may be another image tomorrow.

In: image/bases.json, which people commit. Out: arguments of a build, or an error that says what to do. `refresh` asks the registry, by Docker.
The archive that is made without Docker begins with no image: its packages are checked by apt's signatures, pip's hashes and Go's sums.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping

from image.layout import BASES, ROOT, ImageError

LOCK = ROOT / "image/bases.json"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
INSPECT = ("docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}")


def arguments(locked: Mapping[str, str]) -> list[str]:
    """Return what a build is told of the bases. Raises ImageError where one has no digest."""
    missing = [name for name in BASES.values() if not DIGEST.fullmatch(locked.get(name, ""))]
    if missing:
        raise ImageError(
            f"image/bases.json has no digest for {' and '.join(missing)}: run `make bases` where Docker reaches the registry, and commit what it "
            "writes; or build without Docker: `python -m image --archive`"
        )
    return [f"--build-arg={argument}={name}@{locked[name]}" for argument, name in BASES.items()]


def locked() -> dict[str, str]:
    """Read the digests by image. Raises ImageError."""
    try:
        found: dict[str, str] = json.loads(LOCK.read_text())
    except (OSError, ValueError) as error:
        raise ImageError(f"image/bases.json cannot be read: {error}") from error
    return found


def refresh() -> None:
    """Write the digests that the tags have now, for all architectures together. Raises ImageError."""
    found = {name: _digest(name) for name in BASES.values()}
    LOCK.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")


def _digest(name: str) -> str:
    try:
        done = subprocess.run([*INSPECT, name], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ImageError(f"Docker is needed to ask the registry for {name}: {error}") from error
    digest = done.stdout.strip()
    if done.returncode or not DIGEST.fullmatch(digest):
        raise ImageError(
            f"Docker cannot tell the digest of {name}: {(done.stderr or done.stdout).strip()[-500:]}"
        )
    return digest
