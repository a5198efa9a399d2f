"""Makes what tests and demo need and a machine keeps, with progress on stderr: minutes once, then nothing.

python -m tests.kit.prepare [all]     for `make test`, as pytest would hide for minutes that there is progress

`all`, or CI=true: what a node needs and the operator's image too; CI=true: and the servers of older Kubernetes. Whatever is still missing later is made when it is
asked for. Exit codes: 0 all is there, 1 something cannot be made.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from image import build, debian
from image.layout import ImageError
from tests.kit.ci import CI
from tests.kit.cluster import binaries, node, packages, versions
from tests.kit.cluster.foreign import docker_answers
from tests.kit.servers import sshd

# No scheduler: what CI runs there makes no pod that waits for a node.
SERVERS = ("kube-apiserver", "kube-controller-manager")
OLDER = tuple(f"{name}@{version}" for version in versions.OLDER for name in SERVERS)


def prepare(names: Iterable[str], *, with_node: bool, with_image: bool) -> None:
    """Make these programs, what a node needs, and the operator's image. Raises BuildError, ImageError."""
    programs = (*names, *(binaries.NODE if with_node else ()))
    with ThreadPoolExecutor() as pool:
        for done in (
            pool.submit(binaries.ensure, *programs),
            pool.submit(_from_packages, with_node=with_node, with_image=with_image),
        ):
            done.result()


def _from_packages(*, with_node: bool, with_image: bool) -> None:
    """One after the other: two processes of apt lock each other out."""
    if with_node:
        packages.ensure()
    if with_image:
        build.build()
    sshd.ensure_sshd()


def main(arguments: list[str]) -> int:
    """Make what tests would make on this machine."""
    everything = CI or arguments == ["all"]
    own = os.environ.get("SETPOINT_TEST_CLUSTER") != "kubeconfig"
    names = (
        *binaries.DEFAULT,
        *(["kind"] if own and docker_answers() else ()),
        *(OLDER if CI and own else ()),
    )
    try:
        prepare(
            names,
            with_node=everything and own and not node.unavailable(),
            with_image=everything and own and _has_image(),
        )
    except (binaries.BuildError, ImageError) as error:
        binaries.say(str(error))
        return 1
    except subprocess.CalledProcessError as error:
        binaries.say(f"{error}: {error.stderr.decode(errors='replace')[-1000:]}")
        return 1
    return 0


def _has_image() -> bool:
    try:
        return bool(debian.packages())
    except ImageError as error:
        binaries.say(f"no image of the operator here: {error}")
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
