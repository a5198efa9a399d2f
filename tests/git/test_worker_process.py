"""The worker as a child: it answers as before, knows nothing of the cluster, and may die at any time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from tests.kit.servers.repo import Repo

from setpoint.api.hosts import RESERVED_ALONE
from setpoint.manager.worker_process import ChildWorker, environment_of
from setpoint.settings import Settings
from setpoint.wall.errors import WorkerGone
from setpoint.wall.messages import Build, Built, Check, Checked, GitRef, Login, Look, Lost, Place

pytestmark = pytest.mark.asyncio

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
FOREIGN = ("pygit2", "setpoint.git.fetching", "setpoint.git.contents", "setpoint.git.worker", "setpoint.render", "setpoint.tree", "setpoint.worker", "setpoint.objects.documents", "setpoint.objects.yaml")  # fmt: skip
"""What reads what tenants wrote."""


class World:
    """A repository, and a worker in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.repo = Repo(folder / "app.git")
        self.worker = ChildWorker.of(
            Settings(cache_dir=str(folder / "cache"), allow_file_urls=True), RESERVED_ALONE
        )
        self.place = Place("team", f"file://{self.repo.path}", Login(), submodules=False, timeout=60.0)

    async def check(self) -> Checked:
        found = await self.worker.check(Check(self.place, GitRef(branch="main")))
        assert isinstance(found, Checked), found
        return found

    async def checked(self) -> Checked:
        """Check as soon as a worker is there, however long its start takes on a busy machine."""
        while True:
            with suppress(WorkerGone):
                return await self.check()
            await asyncio.sleep(0)


def build(at: Checked) -> Build:
    return Build(Look("team", at.handle, at.sha, submodules=False, spec={"path": "."}), ())


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.worker.close()
    assert made.worker.pid is None


async def test_it_dies_in_the_middle_and_what_it_had_fetched_stays(world: World) -> None:
    world.repo.commit({f"{n}.yaml": CONFIG % f"c{n}" for n in range(200)} | {"x.yaml": CONFIG % "x"})
    at = await world.checked()
    first = await world.worker.build(build(at))
    assert isinstance(first, Built)
    for _ in range(3):
        pid = world.worker.pid
        assert pid is not None
        asked = asyncio.create_task(world.worker.build(build(at)))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        with suppress(WorkerGone):
            assert isinstance(await asked, Built | Lost)
        # The next worker knows no handle until it has checked, which costs no fetch.
        assert await world.checked() == at
        again = await world.worker.build(build(at))
        assert isinstance(again, Built)
        assert again.objects == first.objects
        assert world.worker.pid != pid


async def test_it_ends_when_the_operator_does(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from setpoint.settings import Settings\n"
        "from setpoint.api.hosts import RESERVED_ALONE\n"
        "from setpoint.manager.worker_process import ChildWorker\n"
        "async def main():\n"
        "    worker = ChildWorker.of(Settings(cache_dir=sys.argv[1]), RESERVED_ALONE)\n"
        "    await worker._client.ready()\n"
        "    print(worker.pid, flush=True)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    operator = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert operator.stdout is not None
    worker = int(await operator.stdout.readline())
    operator.kill()
    await operator.wait()
    for _ in range(1000):
        try:
            state = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        await asyncio.sleep(0.02)
    pytest.fail("it lives on")


async def test_it_is_told_nothing_of_the_cluster() -> None:
    environ = {
        "KUBECONFIG": "/k",
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "AWS_SECRET_ACCESS_KEY": "s",
        "PATH": "/bin",
        "HTTPS_PROXY": "http://proxy",
        "SETPOINT_RENDER_CONCURRENCY": "5",
        "SETPOINT_ALLOW_FILE_URLS": "false",
    }
    assert environment_of(Settings(cache_dir="/c", allow_file_urls=True), environ) == {
        "PATH": "/bin",
        "HTTPS_PROXY": "http://proxy",
        "SETPOINT_RENDER_CONCURRENCY": "5",
        "SETPOINT_CACHE_DIR": "/c",
        "SETPOINT_ALLOW_FILE_URLS": "true",
    }


async def test_the_operator_has_loaded_nothing_that_reads_what_tenants_wrote() -> None:
    code = (
        "import sys, setpoint.__main__, setpoint.manager.kopf_watch\n"
        f"print([m for m in sys.modules if m.startswith({FOREIGN!r})])"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert (await done.communicate())[0].decode().splitlines()[-1] == "[]"
