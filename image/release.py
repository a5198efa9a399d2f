"""What people install: the image's archive and the chart as a package, with their bills of materials, checksums, and a signature.

In: a finished image, the chart of this checkout, maybe a private key. Out: files in one folder; without the signature they are the same bytes for
the same sources. `openssl` and `sha256sum` check them (docs/operations.md).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from image import layout, sbom
from image.build import Built
from image.layout import ROOT, ImageError
from image.sbom import Component

CHART = ROOT / "charts/setpoint"
SUMS, SIGNATURE = "SHA256SUMS", "SHA256SUMS.sig"
PASSPHRASE = "RELEASE_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable


def release(
    built: Built, folder: Path, key: Path | None = None, environ: Mapping[str, str] = os.environ
) -> list[Path]:
    """Write all files of a release into a folder, which is emptied first. Raises ImageError if the key is of no use.

    `key`: a private key of ECDSA in PEM, whose passphrase, if it has one, is in the environment.
    """
    name = f"setpoint-{layout.version()}"
    signed = _signer(key, environ) if key else None
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(built.archive.path, folder / f"{name}.oci.tar")
    shutil.copy(built.sbom, folder / f"{name}.spdx.json")
    (folder / f"{name}.tgz").write_bytes(packaged(CHART))
    (folder / f"{name}.chart.spdx.json").write_bytes(_chart_bill(built.archive.digest))
    sums = "".join(f"{_digest(path)}  {path.name}\n" for path in sorted(folder.iterdir()))
    (folder / SUMS).write_text(sums)
    if signed:
        (folder / SIGNATURE).write_bytes(signed(sums.encode()))
    return sorted(folder.iterdir())


def packaged(chart: Path) -> bytes:
    """Return the chart as Helm takes it, the same bytes each time: `helm package` writes the times of its run."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(each for each in chart.rglob("*") if each.is_file()):
            content = path.read_bytes()
            entry = tarfile.TarInfo(f"{chart.name}/{path.relative_to(chart).as_posix()}")
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def _chart_bill(image: str) -> bytes:
    """Return the bill of materials of the chart: it holds templates of ours alone, and runs one image."""
    runs = Component(
        f"pkg:oci/setpoint@{image.replace(':', '%3A')}", "setpoint", layout.version(), "Apache-2.0"
    )
    return sbom.document("setpoint-chart", layout.version(), "Apache-2.0", [runs], kind="generic")


def _signer(path: Path, environ: Mapping[str, str]) -> Callable[[bytes], bytes]:
    try:
        passphrase = environ.get(PASSPHRASE, "").encode() or None
        key = serialization.load_pem_private_key(path.read_bytes(), passphrase)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ImageError(
            f"the key {path} cannot be read ({error}); its passphrase comes in {PASSPHRASE}"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ImageError(
            f"the key {path} is none of ECDSA: make one by `openssl ecparam -name prime256v1 -genkey`"
        )
    return lambda data: key.sign(data, ec.ECDSA(hashes.SHA256()))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
