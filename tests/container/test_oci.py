"""An archive is the same bytes for the same files, whoever made them and when."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest
from image import oci


def tree(folder: Path, *, umask: int = 0o022, time: int = 1000) -> Path:
    """Make a few files, as somebody with this umask would at that time."""
    before = os.umask(umask)
    try:
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/run").write_text("#!/bin/sh\n")
        (folder / "bin/run").chmod(0o4755 & ~umask)
        (folder / "z").write_text("last")
        (folder / "link").symlink_to("bin/run")
        (folder / "tmp").mkdir()
        (folder / "tmp").chmod(0o1777)
        os.utime(folder / "z", (time, time))
    finally:
        os.umask(before)
    return folder


def test_neither_umask_nor_times_show(tmp_path: Path) -> None:
    one = oci.assemble(tmp_path / "1.tar", "a:1", [tree(tmp_path / "one")], {})
    other = oci.assemble(tmp_path / "2.tar", "a:1", [tree(tmp_path / "other", umask=0o077, time=9)], {})
    assert one.digest == other.digest
    assert one.path.read_bytes() == other.path.read_bytes()


def test_a_finished_layer_counts_like_its_folder(tmp_path: Path) -> None:
    folder = tree(tmp_path / "one")
    layer = oci.pack(folder, tmp_path / "layer")
    assert oci.assemble(tmp_path / "1.tar", "a:1", [layer], {}).digest == (
        oci.assemble(tmp_path / "2.tar", "a:1", [folder], {}).digest
    )


@pytest.mark.parametrize("change", ["content", "mode", "name"])
def test_each_difference_shows(tmp_path: Path, change: str) -> None:
    one, other = tree(tmp_path / "one"), tree(tmp_path / "other")
    match change:
        case "content":
            (other / "z").write_text("Last")
        case "mode":
            (other / "z").chmod(0o755)
        case _:
            (other / "z").rename(other / "y")
    digests = [oci.assemble(tmp_path / "a.tar", "a:1", [folder], {}).digest for folder in (one, other)]
    assert digests[0] != digests[1]


def test_everything_belongs_to_root_and_nothing_raises_rights(tmp_path: Path) -> None:
    layer = oci.pack(tree(tmp_path / "one"), tmp_path / "layer")
    with tarfile.open(layer.path) as archive:
        entries = {entry.name: entry for entry in archive}
    assert list(entries) == ["bin", "bin/run", "link", "tmp", "z"]
    assert {(entry.uid, entry.gid, entry.uname) for entry in entries.values()} == {(0, 0, "")}
    assert [oct(entries[name].mode) for name in ("bin", "bin/run", "tmp", "z")] == [
        "0o755",
        "0o755",
        "0o1777",
        "0o644",
    ]


def test_all_parts_are_found_by_their_digests(tmp_path: Path) -> None:
    made = oci.assemble(tmp_path / "a.tar", "team/a:1", [tree(tmp_path / "one")], {"User": "1:1"})
    with tarfile.open(made.path) as archive:
        blobs = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    for name, content in blobs.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    (entry,) = json.loads(blobs["index.json"])["manifests"]
    assert entry["digest"] == made.digest
    assert entry["annotations"]["io.containerd.image.name"] == "docker.io/team/a:1"
    manifest = json.loads(blobs[f"blobs/sha256/{made.digest.removeprefix('sha256:')}"])
    config = json.loads(blobs["blobs/sha256/" + manifest["config"]["digest"].removeprefix("sha256:")])
    assert config["config"] == {"User": "1:1"}
    assert made.size == sum(layer["size"] for layer in manifest["layers"])
