"""Programs of the operating system that a node needs: those of this machine, else Debian's, without installing them.

In: nothing but the machine. Out: a folder with `runc`, `nft`, `busybox` (static) and the CNI plugins. Debian packages are
downloaded by apt and unpacked into the cache; wrappers let each program find the libraries that came with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from image.debian import download
from image.layout import ImageError
from tests.kit.cluster.binaries import BuildError, cache, lock, say

PACKAGES = (
    *("runc", "libseccomp2", "containernetworking-plugins", "busybox-static"),
    *(
        "nftables",
        "libnftables1",
        "libnftnl11",
        "libmnl0",
        "libjansson4",
        "libxtables12",
        "libedit2",
        "libbsd0",
    ),
)
PROGRAMS = {"runc": "usr/sbin/runc", "nft": "usr/sbin/nft", "busybox": "bin/busybox"}
PLUGINS = ("loopback", "ptp", "host-local")
CNI_FOLDERS = (Path("/opt/cni/bin"), Path("/usr/lib/cni"))


@dataclass(frozen=True)
class Programs:
    """Where they are: `bin` goes on PATH, `cni` holds the plugins."""

    bin: Path
    cni: Path

    @property
    def busybox(self) -> Path:
        """A static busybox, of which images can be made."""
        return self.bin / "busybox"


def obtainable() -> str | None:
    """Why this machine can have no such programs; None when it can."""
    if _of_this_machine() is not None or _unpacked().exists():
        return None
    missing = [name for name in ("apt-get", "dpkg-deb") if shutil.which(name) is None]
    return f"neither runc, nft, busybox and CNI plugins nor {' and '.join(missing)}" if missing else None


def ensure() -> Programs:
    """The programs, downloaded first if this machine lacks one of them. Raises BuildError."""
    if found := _of_this_machine():
        return found
    folder = _unpacked()
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with lock(folder.parent / ".debian.lock", "the Debian packages of a node"):
            if not folder.exists():
                _unpack(folder)
    return Programs(folder / "bin", folder / "usr/lib/cni")


def debian(packages: tuple[str, ...], folder: Path) -> None:
    """Download these packages and unpack them, all into one folder."""
    archives = folder / "archives"
    archives.mkdir(parents=True)
    try:
        download(packages, archives)
    except ImageError as error:
        raise BuildError(str(error)) from error
    for archive in archives.glob("*.deb"):
        _run("dpkg-deb", "--extract", str(archive), str(folder))
    shutil.rmtree(archives)


def _of_this_machine() -> Programs | None:
    found = {name: shutil.which(name) for name in PROGRAMS}
    plugins = next((path for path in CNI_FOLDERS if all((path / name).exists() for name in PLUGINS)), None)
    if plugins is None or not all(found.values()) or not _is_static(found["busybox"]):
        return None
    folder = cache() / "node" / "path"
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in found.items():
        link = folder / name
        if path and (not link.is_symlink() or link.readlink() != Path(path)):
            link.unlink(missing_ok=True)
            link.symlink_to(path)
    return Programs(folder, plugins)


def _is_static(path: str | None) -> bool:
    return path is not None and b"/ld-" not in Path(path).read_bytes()[:4096]


def _unpacked() -> Path:
    system = Path("/etc/os-release").read_bytes() if Path("/etc/os-release").exists() else b""
    key = hashlib.sha256(system + "\0".join((*PACKAGES, os.uname().machine)).encode()).hexdigest()[:16]
    return cache() / "node" / f"debian-{key}"


def _unpack(folder: Path) -> None:
    """Under a temporary name first: a folder that exists is always whole."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    say("downloading runc, CNI plugins, nft and busybox (Debian packages); done once")
    debian(PACKAGES, partial)
    (partial / "bin").mkdir(exist_ok=True)
    for name, path in PROGRAMS.items():
        if (partial / path).parent == partial / "bin":
            continue  # static, and where it belongs
        wrapper = partial / "bin" / name
        libraries = ":".join(str(path.parent) for path in _first_of_each_folder(folder, partial))
        program = folder / path
        wrapper.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec "{program}" "$@"\n')
        wrapper.chmod(0o755)
    partial.rename(folder)


def _first_of_each_folder(folder: Path, partial: Path) -> list[Path]:
    found = {path.parent: path for path in sorted(partial.glob("**/lib*.so.*"))}
    return [folder / path.relative_to(partial) for path in found.values()]


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise BuildError(f"{' '.join(command)} failed: {result.stderr.strip()[-1000:]}")
