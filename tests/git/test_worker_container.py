"""The worker as a container of its own: the operator dials it, each knows the other's user, and it may be killed at any time."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from prometheus_client import generate_latest
from tests.kit.cluster.operator import LOOPBACK_TOO
from tests.kit.servers.repo import Repo

from setpoint.api.hosts import HostRules
from setpoint.link import sockets
from setpoint.manager.patience import Patient
from setpoint.manager.worker_connection import ContainerWorker
from setpoint.manager.worker_process import worker_of
from setpoint.runtime.metrics import Metrics
from setpoint.settings import Settings
from setpoint.wall.errors import WorkerGone
from setpoint.wall.messages import Build, Built, Check, Checked, Failed, GitRef, Login, Look, Place

pytestmark = pytest.mark.asyncio

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
API = HostRules(api=(("127.0.0.1", 9),))
OURS, OTHER = os.getuid(), 65533
KILLS = 5


class Container:
    """The worker's process, and what the kubelet does for it."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.socket, self._folder = folder / "run", folder
        self.socket.mkdir(exist_ok=True)
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "SETPOINT_CACHE_DIR": str(folder / "cache"),
            "SETPOINT_ALLOW_FILE_URLS": "true",
            "SETPOINT_OPERATOR_USER": str(OURS),
            "SETPOINT_LOG_FORMAT": "text",
            "SETPOINT_GIT_ALLOWED_HOSTS": LOOPBACK_TOO,
            **variables,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "setpoint", "worker", "--listen", str(self.socket)]
        with (self._folder / "worker.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=self._environment, stderr=log)
        return self.process

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def said(self, text: str) -> None:
        """Wait until its log has this text."""
        while text not in (self._folder / "worker.log").read_text():
            await asyncio.sleep(0.02)

    async def ended(self) -> int:
        assert self.process is not None
        return await asyncio.to_thread(self.process.wait)


@pytest_asyncio.fixture
async def container(tmp_path: Path) -> AsyncIterator[Container]:
    made = Container(tmp_path)
    yield made
    made.kill()


def settings(container: Container, user: int = OURS) -> Settings:
    return Settings(worker_socket=str(container.socket), worker_user=user)


def place(repo: Repo) -> Place:
    return Place("team", f"file://{repo.path}", Login(), submodules=False, timeout=60.0)


async def answered(worker: Patient, repo: Repo) -> tuple[Checked, Built]:
    """Return the branch and its objects, asked for as runs do: again when the worker went."""
    while True:
        try:
            at = await worker.check(Check(place(repo), GitRef(branch="main")))
            assert isinstance(at, Checked), at
            look = Look("team", at.handle, at.sha, submodules=False, spec={"path": "."})
            built = await worker.build(Build(look, ()))
            if isinstance(built, Built):
                return at, built
        except WorkerGone:
            await asyncio.sleep(0.02)


def metrics(telemetry: Metrics) -> Mapping[str, float]:
    lines = generate_latest(telemetry.registry).decode().splitlines()
    return {
        line.split()[0]: float(line.split()[1])
        for line in lines
        if line.startswith(("setpoint_worker_up", "setpoint_worker_deaths_total"))
    }


async def test_killed_again_and_again_it_loses_nothing(container: Container, tmp_path: Path) -> None:
    repo, telemetry = Repo(tmp_path / "app.git"), Metrics()
    worker = worker_of(settings(container), API, telemetry)
    assert metrics(telemetry)["setpoint_worker_up"] == 0
    for number in range(KILLS):
        process = container.start()
        files = {f"{n}.yaml": CONFIG % f"c{n}-{number}" for n in range(3)}
        sha = repo.commit(files)
        at, built = await answered(worker, repo)
        assert (at.sha, len(built.objects)) == (sha, 3)
        assert metrics(telemetry) == {"setpoint_worker_up": 1, "setpoint_worker_deaths_total": number}
        asked = asyncio.create_task(worker.check(Check(place(repo), GitRef(branch="main"))))
        await asyncio.sleep(0)
        process.kill()
        await container.ended()
        with suppress(WorkerGone):
            await asked
        while worker._client.there:
            await asyncio.sleep(0)
        assert metrics(telemetry) == {"setpoint_worker_up": 0, "setpoint_worker_deaths_total": number + 1}
    # An operator that ends, or dials anew, ends no worker; what it asks next is answered by the same.
    process = container.start()
    await answered(worker, repo)
    await worker.close()
    newest = ContainerWorker.of(settings(container), API)
    assert (await answered(newest, repo))[0].sha == sha
    assert process.poll() is None
    # It is told where the API server is, as with each connection.
    denied = await newest.check(Check(Place("team", "http://127.0.0.1:9/x", Login(), submodules=False, timeout=9.0), GitRef()))  # fmt: skip
    assert isinstance(denied, Failed)
    assert "the API server" in denied.message
    # SIGTERM, which both get, ends it after the operator.
    process.send_signal(signal.SIGTERM)
    await answered(newest, repo)
    assert process.poll() is None
    await newest.close()
    assert await container.ended() == 0


async def test_without_an_operator_it_ends_at_once(container: Container) -> None:
    process = container.start()
    while not (container.socket / sockets.NAME).exists():
        await asyncio.sleep(0.02)
    # Who is no operator does not keep it.
    ours = await sockets.connect(container.socket, OURS)
    ours.close()
    process.send_signal(signal.SIGTERM)
    assert await container.ended() == 0


@pytest.mark.skipif(OURS != 0, reason="only root can take another user's id")
async def test_each_side_refuses_another_user(tmp_path: Path) -> None:
    container = Container(tmp_path, SETPOINT_OPERATOR_USER=str(OTHER))
    container.start()
    try:
        while not (container.socket / sockets.NAME).exists():
            await asyncio.sleep(0.02)
        # The operator that must be at the other end is another: the connection is closed before a word.
        refused = await sockets.connect(container.socket, OURS)
        assert await asyncio.get_running_loop().sock_recv(refused, 1) == b""
        refused.close()
        await container.said(f"at the other end of the socket is uid {OURS}, and uid {OTHER} must be")
        # Nor does an operator talk to whoever listens.
        with pytest.raises(sockets.WrongPeer, match=f"uid {OURS}, and uid {OTHER} must be"):
            await sockets.connect(container.socket, OTHER)
        # A process of the right user is served, though not one of any other; the socket is the group's.
        (container.socket / sockets.NAME).chmod(0o666)
        code = (
            "import asyncio, os, sys; from pathlib import Path\n"
            "from setpoint.link import sockets; from setpoint.link.client import Client; from setpoint.link.turns import Turns\n"
            "from setpoint.wall.messages import PROTOCOL, Hello\n"
            "os.chdir(sys.argv[1]); os.setgroups([]); os.setgid(65534); os.setuid(int(sys.argv[2]))\n"
            "async def main():\n"
            f"    client = Client(lambda: sockets.connect(Path(), {OURS}), Hello(PROTOCOL, 'x'), Turns())\n"
            "    client.start()\n"
            "    await client.ready()\n"
            "    print('served')\n"
            "    await client.close()\n"
            "asyncio.run(main())\n"
        )
        command = [sys.executable, "-c", code, str(container.socket), str(OTHER)]
        done = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        assert (await done.communicate())[0].splitlines()[-1] == b"served"
    finally:
        container.kill()


async def test_one_user_for_both_is_said_by_a_setting(container: Container, tmp_path: Path) -> None:
    repo = Repo(tmp_path / "app.git")
    repo.commit({"a.yaml": CONFIG % "a"})
    same = Container(tmp_path, SETPOINT_OPERATOR_USER=str(OTHER), SETPOINT_SAME_USER="true")
    same.start()
    worker = ContainerWorker.of(
        Settings(worker_socket=str(same.socket), worker_user=OTHER, same_user=True), HostRules()
    )
    try:
        await answered(worker, repo)
    finally:
        await worker.close()
        same.kill()


async def test_a_loop_that_stands_still_ends_the_process() -> None:
    code = (
        "import asyncio, time\n"
        "from setpoint.runtime.loop_holds import watched\n"
        "async def main():\n"
        "    with watched(longest=0.5):\n"
        "        for _ in range(20): await asyncio.sleep(0.05)\n"
        "        print('turns', flush=True)\n"
        "        time.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, said = await done.communicate()
    assert (done.returncode, out) == (1, b"turns\n")
    assert b"Timeout" in said
    assert b"in main" in said
