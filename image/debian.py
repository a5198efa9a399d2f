"""Debian packages -> a root folder: a Python and what it needs, without a shell and without a package manager.

In: names of packages. Out: their files, and a note on each that scanners read. apt chooses the versions and checks the
signatures; no script of a package runs, so neither root nor a chroot is needed, and nothing is installed on this machine.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from image.layout import CERTIFICATES, PYTHON, STANDARD, USER, ImageError

WANTED = (f"python{PYTHON}-minimal", f"libpython{PYTHON}-stdlib", "base-files", "ca-certificates", "netbase")
# Dependencies that go no further, and why.
UNWANTED = {
    "debconf": "asks questions at installation",
    "dpkg": "installs packages",
    "awk": "scripts of base-files",
    "openssl": "a program; scripts of ca-certificates",
    "libdb5.3": "the module dbm.ndbm",
    "libnsl2": "the module nis, and Kerberos with it",
    "libtirpc3": "the module nis",
    "libreadline8": "a terminal",
    "libncursesw6": "a terminal",
    "libtinfo6": "a terminal",
    "libsqlite3-0": "the module sqlite3",
    "media-types": "guesses about files of a web server",
}
DROPPED = (
    *("usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/bug", "usr/share/info"),
    *("usr/share/base-files", "usr/share/ca-certificates", "usr/share/pixmaps", "usr/share/applications"),
    *("usr/share/binfmts", "usr/share/gcc", "var/backups", "var/lock", "var/mail"),
    *("usr/sbin", "sbin", "bin", "boot", "home", "media", "mnt", "opt", "srv", "usr/games", "usr/include"),
    *(f"{STANDARD}/{name}" for name in ("lib2to3", "pydoc_data", "curses", "sqlite3", "test")),
    f"usr/lib/python{PYTHON}/sitecustomize.py",
)
DROPPED_MODULES = ("_curses", "_curses_panel", "_dbm", "_sqlite3", "nis", "readline")
STATUS = "var/lib/dpkg/status.d"
PASSWD = f"root:x:0:0:root:/root:/sbin/nologin\nsetpoint:x:{USER}:{USER}:setpoint:/tmp:/sbin/nologin\n"
GROUP = f"root:x:0:\nsetpoint:x:{USER}:\n"
RELATION = re.compile(r"\s*(?P<name>[a-z0-9][a-z0-9.+-]*)")


@dataclass(frozen=True, order=True)
class Package:
    """One Debian package, as apt would take it."""

    name: str
    version: str
    architecture: str
    depends: tuple[tuple[str, ...], ...] = ()
    source: str = ""

    @property
    def pinned(self) -> str:
        """What `apt-get download` takes."""
        return f"{self.name}={self.version}"


def parse(text: str) -> Package:
    """Read one stanza of `apt-cache show`; each dependency is a tuple of alternatives."""
    fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", text, re.MULTILINE))
    groups = ", ".join(filter(None, (fields.get("Pre-Depends", ""), fields.get("Depends", ""))))
    depends = tuple(
        tuple(match["name"] for choice in group.split("|") if (match := RELATION.match(choice)))
        for group in groups.split(",")
        if group.strip()
    )
    source = str(fields.get("Source", fields["Package"])).partition(" ")[0]
    return Package(fields["Package"], fields["Version"], fields["Architecture"], depends, source)


def closure(
    wanted: Iterable[str], show: Callable[[Sequence[str]], Mapping[str, Package]], unwanted: Container[str]
) -> tuple[Package, ...]:
    """All that these packages depend on, sorted; of alternatives the first that exists. Raises ImageError."""
    found: dict[str, Package] = {}
    groups: set[tuple[str, ...]] = {(name,) for name in wanted}
    while groups := {group for group in groups if not any(n in found or n in unwanted for n in group)}:
        known = show(sorted({name for group in groups for name in group}))
        for group in sorted(groups):
            package = next((known[name] for name in group if name in known), None)
            if package is None:
                raise ImageError(f"apt of this machine has no package {' or '.join(group)}")
            found[package.name] = package
        groups = {group for package in known.values() if package.name in found for group in package.depends}
    return tuple(sorted(found.values()))


@cache
def packages() -> tuple[Package, ...]:
    """The packages of the image, at the versions that apt would install today. Raises ImageError."""
    if missing := [name for name in ("apt-get", "apt-cache", "dpkg-deb") if shutil.which(name) is None]:
        raise ImageError(f"without Docker the image is made of Debian packages, by {' and '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder:
        show = partial(_show, Path(folder))
        if WANTED[0] not in show(WANTED[:1]):
            _run("apt-get", "update", "-q")  # a fresh machine has no package lists
        if WANTED[0] not in show(WANTED[:1]):
            raise ImageError(f"apt of this machine has no {WANTED[0]}: build where it has, or with Docker")
        return closure(WANTED, show, UNWANTED)


def download(names: Iterable[str], folder: Path) -> None:
    """Download packages (`name` or `name=version`) into a folder. Raises ImageError."""
    command = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *names]
    for attempt in ("with the lists of this machine", "with new ones"):
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if result.returncode == 0:
            return
        if attempt == "with the lists of this machine":
            _run("apt-get", "update", "-q")
    raise ImageError(f"apt-get cannot download packages: {result.stderr.strip()[-1000:]}")


def unpack(chosen: Iterable[Package], root: Path, work: Path) -> None:
    """Make the root folder of these packages."""
    download([package.pinned for package in chosen], work)
    for archive in sorted(work.glob("*.deb")):
        _run("dpkg-deb", "--extract", str(archive), str(root))
        _note(archive, root)
        archive.unlink()
    _certificates(root)
    _prune(root)
    (root / "etc/passwd").write_text(PASSWD)
    (root / "etc/group").write_text(GROUP)
    (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    (root / "tmp").mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)


def _note(archive: Path, root: Path) -> None:
    """What scanners look for where there is no dpkg: one file for each package, as in other images without it."""
    text = subprocess.run(["dpkg-deb", "--field", archive], capture_output=True, text=True, check=True).stdout
    folder = root / STATUS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / archive.name.partition("_")[0]).write_text(text)


def _certificates(root: Path) -> None:
    """What the script of ca-certificates does, and the place where OpenSSL looks by itself."""
    found = sorted((root / "usr/share/ca-certificates").glob("**/*.crt"))
    bundle = root / CERTIFICATES.lstrip("/")
    bundle.parent.mkdir(parents=True, exist_ok=True)
    bundle.write_text("".join(path.read_text().rstrip("\n") + "\n" for path in found))
    link = root / "usr/lib/ssl/cert.pem"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(CERTIFICATES)


def _prune(root: Path) -> None:
    for name in DROPPED:
        path = root / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for name in DROPPED_MODULES:
        for path in (root / STANDARD / "lib-dynload").glob(f"{name}.*.so"):
            path.unlink()
    for path in sorted(root.glob("usr/lib/*/gconv")):  # tables between character sets; Python has its own
        shutil.rmtree(path)
    for folder, _, names in os.walk(root / "usr/share/doc"):
        for name in names:
            if name != "copyright":  # licences stay
                (Path(folder) / name).unlink()


def _show(folder: Path, names: Sequence[str]) -> dict[str, Package]:
    """What apt knows; it says nothing of names that it does not know.

    What it made of its lists is kept in `folder`: images of Debian are set to keep nothing, and each call reads all anew.
    """
    kept = [f"--option=Dir::Cache::{name}={folder / name}" for name in ("pkgcache", "srcpkgcache")]
    command = ["apt-cache", "show", "--no-all-versions", *kept, *names]
    text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = [parse(stanza) for stanza in text.split("\n\n") if stanza.strip()]
    return {package.name: package for package in found}


def _run(*command: str) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ImageError(f"{' '.join(command)} failed: {result.stderr.strip()[-1000:]}")
