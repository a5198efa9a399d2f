"""Folders -> an image archive (OCI layout in a tar), the same bytes each time.

In: folders, one for each layer, and a configuration. Out: one file that `ctr images import`, `docker load`, `kind load
image-archive` and `skopeo copy oci-archive:` take. Times are a constant, entries are sorted, names of owners are left out.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
LEVEL = 6


@dataclass(frozen=True)
class Blob:
    """One content-addressed part of an image; `diff_id` is a layer's digest before compression."""

    path: Path
    digest: str
    size: int
    diff_id: str = ""

    def descriptor(self, media: str) -> dict[str, Any]:
        """How other parts refer to it."""
        return {"mediaType": media, "digest": f"sha256:{self.digest}", "size": self.size}


@dataclass(frozen=True)
class Archive:
    """A finished image: its file, the digest of its manifest, and the compressed size of its layers."""

    path: Path
    reference: str
    digest: str
    size: int


def assemble(
    target: Path, reference: str, layers: Sequence[Path | Blob], config: Mapping[str, Any], *, epoch: int = 0
) -> Archive:
    """Write the image of these folders or finished layers; `config` as in `docker inspect`: Entrypoint, Env, User, ..."""
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        work = Path(temporary)
        blobs = [
            each if isinstance(each, Blob) else pack(each, work / f"layer-{number}", epoch=epoch)
            for number, each in enumerate(layers)
        ]
        image = _blob(_json(_config(config, blobs, epoch)), work)
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": image.descriptor(CONFIG),
            "layers": [blob.descriptor(LAYER) for blob in blobs],
        }
        manifest = _blob(_json(document), work)
        partial = work / "archive"
        _write(partial, reference, manifest, image, blobs, epoch)
        partial.replace(target)
    return Archive(target, reference, f"sha256:{manifest.digest}", sum(blob.size for blob in blobs))


def _config(config: Mapping[str, Any], layers: list[Blob], epoch: int) -> dict[str, Any]:
    machine = os.uname().machine
    return {
        "created": datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z"),
        "architecture": ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.diff_id}" for layer in layers]},
    }


def _write(target: Path, reference: str, manifest: Blob, image: Blob, layers: list[Blob], epoch: int) -> None:
    tag = reference.rpartition(":")[2]
    names = {"io.containerd.image.name": _full(reference), "org.opencontainers.image.ref.name": tag}
    entry = {**manifest.descriptor(MANIFEST), "annotations": names}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    # Older engines know no OCI layout, but find the same blobs through this file.
    docker = [{"Config": _name(image), "RepoTags": [reference], "Layers": [_name(layer) for layer in layers]}]
    texts = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json(index),
        "manifest.json": _json(docker),
    }
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in texts.items():
            archive.addfile(_entry(name, len(content), epoch), io.BytesIO(content))
        for blob in sorted({each.digest: each for each in (manifest, image, *layers)}.values(), key=_name):
            with blob.path.open("rb") as file:
                archive.addfile(_entry(_name(blob), blob.size, epoch), file)


def pack(folder: Path, path: Path, *, epoch: int = 0) -> Blob:
    """Write the layer of a folder; all of it belongs to root."""
    with path.open("wb") as file:
        packed = _Hashing(file)
        with gzip.GzipFile("", "wb", LEVEL, packed, mtime=0) as compressed:
            plain = _Hashing(compressed)
            with tarfile.open(mode="w|", fileobj=plain, format=tarfile.PAX_FORMAT) as archive:
                for name in _walk(folder):
                    _add(archive, folder, name, epoch)
    return Blob(path, packed.hexdigest(), path.stat().st_size, plain.hexdigest())


def _walk(folder: Path, below: str = "") -> Iterator[str]:
    """Every name below, folders before what is in them, in one order on every file system."""
    for entry in sorted(os.scandir(folder / below), key=lambda entry: entry.name):
        name = f"{below}/{entry.name}".lstrip("/")
        yield name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder, name)


def _add(archive: tarfile.TarFile, folder: Path, name: str, epoch: int) -> None:
    entry = archive.gettarinfo(str(folder / name), name)
    entry.mtime, entry.uname, entry.gname, entry.uid, entry.gid = epoch, "", "", 0, 0
    entry.mode = _mode(entry)
    if entry.isreg():
        with (folder / name).open("rb") as file:
            archive.addfile(entry, file)
    else:
        archive.addfile(entry)


def _mode(entry: tarfile.TarInfo) -> int:
    """Neither the umask of the builder shall show, nor a bit that makes a program run as somebody else."""
    if entry.issym():
        return 0o777
    if entry.isdir():
        return 0o1777 if entry.mode & stat.S_ISVTX else 0o755
    return 0o755 if entry.mode & stat.S_IXUSR else 0o644


def _blob(content: bytes, work: Path) -> Blob:
    digest = hashlib.sha256(content).hexdigest()
    path = work / digest
    path.write_bytes(content)
    return Blob(path, digest, len(content))


def _entry(name: str, size: int, epoch: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = size, epoch, 0o644
    return entry


def _full(reference: str) -> str:
    """The name under which Kubernetes asks for it: `setpoint:1` is `docker.io/library/setpoint:1`."""
    first, slash, _ = reference.partition("/")
    if not slash:
        return f"docker.io/library/{reference}"
    return reference if "." in first or ":" in first or first == "localhost" else f"docker.io/{reference}"


def _name(blob: Blob) -> str:
    return f"blobs/sha256/{blob.digest}"


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


class _Hashing(io.RawIOBase):
    """Passes on what is written, and knows its digest."""

    def __init__(self, target: IO[bytes] | gzip.GzipFile) -> None:
        self._target, self._hash = target, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._hash.update(data)
        return self._target.write(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()
