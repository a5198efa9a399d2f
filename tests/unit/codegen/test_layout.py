"""The layout holds: contracts that fail when they are broken, and nothing grows out of its room."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "operator" / "setpoint"
MODULES = sorted(PACKAGE.rglob("*.py"))
TOP = {"__init__.py", "__main__.py", "settings.py"}
DECIDES = ("api", "health", "objects", "plan", "status", "tree", "wall")
LINT = Path(sys.executable).with_name("lint-imports")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the package with its contracts, where it may be broken."""
    root = tmp_path_factory.mktemp("layout")
    shutil.copytree(PACKAGE, root / "setpoint", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


def layers(root: Path) -> subprocess.CompletedProcess[str]:
    """Run `make layers` on a copy."""
    command = [str(LINT), "--config", str(root / "pyproject.toml"), "--no-cache"]
    environment = {"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def broken(root: Path, module: str, line: str) -> str:
    """Return what `make layers` says of a copy where a module has one more import."""
    path = root / "setpoint" / module
    before = path.read_text() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{before or ''}\n{line}\n")
    try:
        result = layers(root)
    finally:
        if before is not None:
            path.write_text(before)
        else:
            shutil.rmtree(path.parent)
    return "" if result.returncode == 0 else result.stdout


def test_the_copy_is_kept(copy: Path) -> None:
    result = layers(copy)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    "target", ["render.renderer", "git.fetching", "git.contents.reading", "kube.client", "store.index"]
)
def test_plan_imports_nobody_who_acts(copy: Path, target: str) -> None:
    assert "BROKEN" in broken(copy, "plan/desired.py", f"import setpoint.{target}")


@pytest.mark.parametrize(
    "module", ["git/refs.py", "git/worker/fetch.py", "render/inputs.py", "tree/paths.py"]
)
def test_what_reads_repositories_does_not_reach_the_api_server(copy: Path, module: str) -> None:
    found = broken(copy, module, "import setpoint.kube.client")
    assert "what reads repositories and renders them reaches no API server BROKEN" in found


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("syncs/builder.py", "import setpoint.render.renderer"),
        ("sources/reconciler.py", "import setpoint.git.fetching"),
        ("syncs/target.py", "import setpoint.tree.gitignore"),
        ("syncs/receipt.py", "import setpoint.worker.broker"),
        ("apply/placing.py", "import setpoint.objects.documents"),
        ("store/index.py", "import setpoint.objects.yaml"),
        ("kube/errors.py", "import pygit2"),
        ("watch/pods.py", "import pathspec"),
        ("runtime/lru.py", "import setpoint.objects.documents"),
    ],
)
def test_who_writes_to_the_cluster_reads_nothing_that_tenants_wrote(
    copy: Path, module: str, line: str
) -> None:
    assert "reads nothing that tenants wrote BROKEN" in broken(copy, module, line)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("git/fetching.py", "import setpoint.git.contents.reading"),
        ("git/workers.py", "import setpoint.git.worker.main"),
        ("git/remotes.py", "import setpoint.tree.protocol"),
        ("runtime/disk.py", "import yaml"),
    ],
)
def test_who_starts_readers_reads_nothing_that_tenants_wrote(copy: Path, module: str, line: str) -> None:
    assert "who starts readers reads nothing that tenants wrote BROKEN" in broken(copy, module, line)


def test_nor_by_way_of_another(copy: Path) -> None:
    """`render` may import `runtime`, and then that may not lead to `kube`."""
    (copy / "setpoint/runtime/detour.py").write_text("import setpoint.kube.client\n")
    try:
        found = broken(copy, "render/inputs.py", "import setpoint.runtime.detour")
    finally:
        (copy / "setpoint/runtime/detour.py").unlink()
    assert "what reads repositories and renders them reaches no API server BROKEN" in found


@pytest.mark.parametrize("name", ["time", "os", "logging"])
def test_nobody_who_decides_asks_clock_system_or_log(copy: Path, name: str) -> None:
    for package in DECIDES:
        module = next(
            p for p in sorted((PACKAGE / package).glob("*.py")) if p.name not in ("__init__.py", "local.py")
        )
        found = broken(copy, f"{package}/{module.name}", f"import {name}")
        assert f"setpoint.{package}.{module.stem} -> {name}" in found, package


def test_a_new_package_must_be_named(copy: Path) -> None:
    assert "each package stands on those below it BROKEN" in broken(copy, "newcomer/__init__.py", "X = 1")


def test_only_three_modules_stand_outside_of_packages() -> None:
    assert {p.name for p in PACKAGE.glob("*.py")} <= TOP


@pytest.mark.parametrize("folder", sorted({p.parent for p in MODULES} - {PACKAGE}), ids=lambda f: f.name)
def test_no_package_has_more_than_13_modules(folder: Path) -> None:
    assert len([p for p in folder.glob("*.py") if p.name != "__init__.py"]) <= 13


def test_no_module_has_more_than_400_lines() -> None:
    sizes = {str(p.relative_to(PACKAGE)): len(p.read_text().splitlines()) for p in MODULES}
    assert {name: size for name, size in sizes.items() if size > 400} == {}


def test_no_function_has_more_than_45_lines() -> None:
    long = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > 45
    ]
    assert long == []
