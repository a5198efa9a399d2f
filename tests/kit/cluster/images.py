"""Small images made on the spot: a static busybox and whatever a test wants to have in them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from image.oci import Archive, assemble
from tests.kit.cluster import packages

FOLDERS = ("bin", "etc", "tmp", "www")


def busybox(
    target: Path,
    reference: str,
    command: Sequence[str] = ("sleep", "infinity"),
    files: Mapping[str, str] | None = None,
) -> Archive:
    """An image of busybox alone, which runs `command` of it; `files`: path -> text."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for name in FOLDERS:
            (root / name).mkdir(mode=0o755)
        program = packages.ensure().busybox
        shutil.copy(program, root / "bin/busybox")
        for applet in subprocess.run(
            [program, "--list"], capture_output=True, text=True, check=True
        ).stdout.split():
            if applet != "busybox":
                (root / "bin" / applet).symlink_to("busybox")
        for path, text in (files or {}).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        config = {"Entrypoint": ["/bin/busybox", *command], "Env": ["PATH=/bin"]}
        return assemble(target, reference, [root], config)
