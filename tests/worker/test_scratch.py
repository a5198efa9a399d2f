"""The folders of readers: nobody's room but their own, gone when their reader is, and swept when their broker was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.brokered import Brokered
from tests.kit.cluster import binaries
from tests.kit.servers.repo import Repo

from setpoint.api.reasons import Problem, Reason
from setpoint.wall.messages import Build, Built, Check, Checked, Failed, GitRef, Login, Look, Place
from setpoint.worker.folders.scratch import PREFIX, Remover, Scratch

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


@pytest.fixture
def remover() -> Iterator[Remover]:
    made = Remover()
    yield made
    made.finish()


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A folder of temporary files that is soon full."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a volume")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_all_is_gone_at_the_end(tmp_path: Path, remover: Remover) -> None:
    scratch = Scratch(tmp_path, remover)
    first, second = scratch.make("a"), scratch.make("b")
    assert first.parent == second.parent
    assert {each.stat().st_mode & 0o777 for each in (first, second, first.parent)} == {0o700}
    (first / "file").write_bytes(b"x")
    scratch.discard(first)
    scratch.close()
    remover.finish()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_broker_left_is_swept_and_what_lives_is_not(tmp_path: Path, remover: Remover) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom setpoint.worker.folders.scratch import Remover, Scratch\n"
        "made = Scratch(Path(sys.argv[1]), Remover()).make('a')\n(made / 'file').write_text('x')\n"
        "print(made, flush=True)\nsys.stdin.read()"
    )
    living = Scratch(tmp_path, remover).make("b")
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdin
    assert other.stdout
    with other.stdin, other.stdout:
        left = Path(other.stdout.readline().strip())
        assert living.is_dir()
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert (left / "file").exists()
    foreign = tmp_path / f"{PREFIX}of-nobody"
    foreign.mkdir()
    Scratch(tmp_path, remover)
    remover.finish()
    assert not left.parent.exists()
    assert living.is_dir()
    assert foreign.is_dir()


def test_a_wiped_folder_is_made_anew(tmp_path: Path, remover: Remover) -> None:
    scratch = Scratch(tmp_path, remover)
    first = scratch.make("a")
    first.rmdir()
    (first.parent / "alive").unlink()
    first.parent.rmdir()
    assert scratch.make("b").is_dir()


def test_a_folder_that_cannot_be_made_is_told_by_its_name(tmp_path: Path, remover: Remover) -> None:
    (tmp_path / "tmp").write_text("no folder")
    with pytest.raises(
        Problem, match=r"temporary files, .*/tmp, cannot be written: not a directory"
    ) as caught:
        Scratch(tmp_path / "tmp", remover).make("a")
    assert caught.value.reason is Reason.CacheFull


async def test_builds_fill_another_volume_than_the_cache(
    tmp_path: Path, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name is told; and there is room again when it is over."""
    monkeypatch.setattr(tempfile, "tempdir", str(volume))
    repo = Repo(tmp_path / "app.git")
    secret = "secretGenerator: [{name: s, files: [large]}]\n"
    large: dict[str, str | bytes] = {"large/large": os.urandom(900_000), "large/kustomization.yaml": secret}
    more: dict[str, str | bytes] = {f"more/f{n}": os.urandom(900_000) for n in range(6)}
    files = ", ".join(f"f{n}" for n in range(6))
    more["more/kustomization.yaml"] = f"configMapGenerator: [{{name: s, files: [{files}]}}]\n".encode()
    small = {"small/a.yaml": CONFIG, "small/kustomization.yaml": "resources: [a.yaml]"}
    repo.commit({**large, **more, **small})
    kustomize = str(binaries.ensure("kustomize")["kustomize"])
    async with Brokered(tmp_path / "cache", kustomize=kustomize) as worker:
        at = await worker.check(
            Check(Place("team", f"file://{repo.path}", Login(), False, 60.0), GitRef(branch="main"))
        )
        assert isinstance(at, Checked)
        for path in ("more", "small"):
            found = await worker.build(
                Build(Look("team", at.handle, at.sha, False, {"path": path, "kustomize": {}}), ())
            )
            if path == "small":
                assert isinstance(found, Built), found
            else:
                assert isinstance(found, Failed)
                assert found.reason is Reason.CacheFull
                assert f"{volume}, cannot be written: no space left on device" in found.message
        assert not (tmp_path / "cache" / "readers").exists()
        assert any(volume.iterdir())
    assert list(volume.iterdir()) == []
