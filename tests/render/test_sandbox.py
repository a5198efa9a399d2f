"""Renderer processes within their limits: a small script plays the renderer that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.kit.cluster.processes import lives
from tests.kit.fenced import ALONE, ATTEMPTS, PYTHON, SHELL
from tests.kit.gitfolder import GitFolder
from tests.render.conftest import config, sync_spec

from setpoint.api.budgets import Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.fences import kernel
from setpoint.fences.launcher import CANNOT_START
from setpoint.fences.launching import LaunchError
from setpoint.fences.policy import NO_LANDLOCK, Policy
from setpoint.render import workspace
from setpoint.render.inputs import gather
from setpoint.render.program import Program
from setpoint.render.renderer import Renderer
from setpoint.render.sandbox import Completed, Limits, Sandbox, Stopped

pytestmark = pytest.mark.asyncio
LIMITS = Limits(timeout=20, memory=256 * 2**20, output=2**20)


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    made = Sandbox(Policy(libraries=PYTHON))
    try:
        yield made
    finally:
        made.close()


async def run(sandbox: Sandbox, folder: Path, code: str, limits: Limits = LIMITS) -> Completed:
    return await sandbox.run([sys.executable, "-I", "-S", "-c", code], folder, {"ONLY": "this"}, limits)


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while lives(pid):
            await asyncio.sleep(0.02)


async def test_output_and_status_come_back(sandbox: Sandbox, tmp_path: Path) -> None:
    done = await run(sandbox, tmp_path, "import sys; print('out'); sys.stderr.write('err'); sys.exit(3)")
    assert done == Completed(3, b"out\n", b"err")


SURROUNDINGS = """
import json, os, resource, sys
status = dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines() if ':\\t' in line)
print(json.dumps({
    'environ': {k: v for k, v in os.environ.items() if k != 'LC_CTYPE'}, 'cwd': os.getcwd(), 'stdin': sys.stdin.read(),
    'files': sorted(os.readlink(f'/proc/self/fd/{n}').split(' ')[0].split(':')[0] for n in os.listdir('/proc/self/fd') if os.path.lexists(f'/proc/self/fd/{n}')),
    'nnp': status['NoNewPrivs'], 'seccomp': status['Seccomp'], 'group': os.getpgid(0) == os.getpid(),
    'core': resource.getrlimit(resource.RLIMIT_CORE), 'nofile': resource.getrlimit(resource.RLIMIT_NOFILE),
}))
"""


async def test_a_renderer_knows_nothing_of_its_surroundings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/secret")
    sandbox = Sandbox(Policy(libraries=(*PYTHON, "/proc", "/dev/null")))
    with open(os.devnull) as inherited:
        os.set_inheritable(inherited.fileno(), True)
        seen = json.loads((await run(sandbox, tmp_path, SURROUNDINGS)).stdout)
    sandbox.close()
    assert seen == {
        "environ": {"ONLY": "this"},
        "cwd": str(tmp_path),
        "stdin": "",
        "files": ["/dev/null", "/memfd", "/memfd"],
        "nnp": "1",
        "seccomp": "2",
        "group": True,
        "core": [0, 0],
        "nofile": [256, 256],
    }


ATTACK = (
    ATTEMPTS
    + """
import json, sys
print(json.dumps(attempts(json.loads({paths!r}), {abstract!r}, {run!r})))
"""
)


async def attacked(
    sandbox: Sandbox, work: Path, others: dict[str, Path], *, run_others: bool = True
) -> dict[str, str]:
    """Return what came of each attempt of a renderer at some paths, its neighbours and the network."""
    paths = {"its own": str(work)} | {name: str(path) for name, path in others.items()}
    abstract = f"\0{work}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(abstract)
        listening.listen()
        code = ATTACK
        for name, value in (("paths", json.dumps(paths)), ("abstract", abstract), ("run", run_others)):
            code = code.replace(f"{{{name}!r}}", repr(value))
        done = await run(sandbox, work, code)
    assert done.status == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


STILL_ALONE = {name: code for name, code in ALONE.items() if name != "run"}
NO_NETWORK = dict.fromkeys(
    ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "abstract", "socketpair", "mode"), "EACCES"
)


async def test_a_renderer_that_was_taken_over(sandbox: Sandbox, tmp_path: Path, token: Path) -> None:
    """It has its work folder, and makes no symlinks there; it starts and signals no process, and opens no socket."""
    work, mirror = tmp_path / "work", tmp_path / "mirrors" / "other"
    for folder in (work, mirror):
        folder.mkdir(parents=True)
    outside = {
        "token": token,
        "mirror": mirror,
        "passwd": Path("/etc/passwd"),
        "proc": Path("/proc"),
        "tmp": tmp_path,
    }
    found = await attacked(sandbox, work, outside)
    own = {name: found.pop(name) for name in list(found) if "its own" in name}
    assert own == {"read its own": "done", "write its own": "done", "link its own": "EACCES"}
    assert {name for name in outside if found.pop(f"read {name}") == "EACCES"} == set(outside)
    assert {found.pop(f"write {name}") for name in outside} <= {"EACCES", "ENOENT"}
    assert {found.pop(f"link {name}") for name in outside} <= {"EACCES", "ENOTDIR", "ENOENT"}
    assert found == NO_NETWORK | ALONE


async def test_without_landlock_nothing_is_rendered_unless_that_is_wanted(
    tmp_path: Path, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it reads files, and keeps the other fences."""
    monkeypatch.setattr(kernel, "landlock_abi", lambda: 0)
    with pytest.raises(LaunchError, match=re.escape(NO_LANDLOCK)):
        await run(Sandbox(), tmp_path, "")
    monkeypatch.undo()
    (work := tmp_path / "work").mkdir()
    sandbox = Sandbox(Policy(required=False, newest=0))
    found = await attacked(sandbox, work, {"token": token}, run_others=False)
    sandbox.close()
    assert found["read token"] == "done"
    assert {name: found.get(name) for name in NO_NETWORK | STILL_ALONE} == NO_NETWORK | STILL_ALONE


async def test_a_launcher_without_landlock_starts_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    """The operator asks before it starts; but who fences does not take its word."""
    await run(sandbox, tmp_path, "")
    assert sandbox.launcher
    request = {"argv": [sys.executable], "env": {}, "output": 2**20}
    folder = os.open(tmp_path, os.O_RDONLY)
    with tempfile.TemporaryFile() as output:
        fence = Policy(required=True, newest=0).wire([])
        started = await sandbox.launcher.start(
            {**request, **fence}, (output.fileno(), output.fileno(), folder)
        )
        os.close(folder)
        assert (await started.ended).status == CANNOT_START
        output.seek(0)
        assert output.read().decode() == f"Error: {NO_LANDLOCK}\n"


async def test_a_program_that_needs_more_than_itself_is_told(tmp_path: Path) -> None:
    sandbox = Sandbox()
    done = await run(sandbox, tmp_path, "")
    sandbox.close()
    assert done.status == 127
    assert "linked statically" in done.stderr.decode()
    assert "settings.renderLibraries" in done.stderr.decode()


async def timed_out(sandbox: Sandbox, folder: Path, code: str, file: str) -> int:
    """Run what writes a process id and hangs, under a time limit; returns the id. A slow machine gets more time to write it."""
    for seconds in (1.0, 4.0, 16.0, 64.0):
        done = await run(sandbox, folder, code, Limits(seconds, LIMITS.memory, LIMITS.output))
        assert (done.status, done.stopped) == (-signal.SIGKILL, Stopped.TIMEOUT)
        if (folder / file).exists() and (text := (folder / file).read_text()):
            return int(text)
    pytest.fail(f"{file} was never written")


HANG = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"


async def test_a_hang_ends_with_the_time_limit(sandbox: Sandbox, tmp_path: Path) -> None:
    pid = await timed_out(sandbox, tmp_path, HANG, "pid")
    assert not lives(pid)


async def test_memory_is_limited(sandbox: Sandbox, tmp_path: Path) -> None:
    done = await run(sandbox, tmp_path, "import time; x = bytearray(400 * 2**20); time.sleep(600)")
    assert done.stopped is Stopped.MEMORY


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_output_is_limited(sandbox: Sandbox, tmp_path: Path, stream: str) -> None:
    done = await run(sandbox, tmp_path, f"import sys\nwhile True: sys.{stream}.write('x' * 65536)")
    assert done.stopped is Stopped.OUTPUT
    assert max(len(done.stdout), len(done.stderr)) == LIMITS.output


async def test_a_program_that_is_none_is_an_exit_code(sandbox: Sandbox, tmp_path: Path) -> None:
    done = await sandbox.run([str(tmp_path / "none")], tmp_path, {}, LIMITS)
    assert (done.status, done.stderr) == (127, b"Error: No such file or directory\n")


async def test_a_cancelled_wait_kills_the_process(sandbox: Sandbox, tmp_path: Path) -> None:
    task = asyncio.create_task(run(sandbox, tmp_path, HANG))
    async with asyncio.timeout(20):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.02)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await until_gone(int((tmp_path / "pid").read_text()))


async def test_a_launcher_that_died_is_an_error_once_and_then_replaced(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    await run(sandbox, tmp_path, "")
    launcher = sandbox.launcher
    assert launcher is not None
    task = asyncio.create_task(run(sandbox, tmp_path, HANG))
    async with asyncio.timeout(20):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.02)
    launcher._process.kill()
    with pytest.raises(LaunchError):
        await task
    await until_gone(int((tmp_path / "pid").read_text()))
    assert (await run(sandbox, tmp_path, "print(1)")).stdout == b"1\n"


PARENT = """
import asyncio, sys
from pathlib import Path
from setpoint.fences.policy import Policy
from setpoint.render.sandbox import Limits, Sandbox
async def main():
    sandbox = Sandbox(Policy(libraries=tuple(sys.argv[3:])))
    await sandbox.run([sys.executable, "-I", "-S", "-c", sys.argv[2]], Path(sys.argv[1]), {}, Limits(600, 2**30, 2**20))
asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path, number: int) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), HANG, *PYTHON])
    async with asyncio.timeout(30):
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.02)
    pid = int((tmp_path / "pid").read_text())
    launcher = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    parent.send_signal(number)
    parent.wait()
    await until_gone(pid)
    await until_gone(launcher)


FAKES = {
    "exec sleep 600": "k: kustomize did not end within the 0.5 s of settings.renderTimeout and was stopped",
    "tail": "k: kustomize took more than the 64 MiB of memory of settings.renderMemory and was stopped; make several Syncs of it, or raise the setting",
    "exec head -c 100000000 /dev/zero": "k, as built by kustomize: at least 1,048,576 bytes of manifests, more than the 1,048,576 of settings.maxRenderSize; make several Syncs of it, or raise the setting",
    "kill -SEGV $$": "k: kustomize was ended by signal 11",
}


@pytest.mark.parametrize("script", FAKES)
async def test_a_renderer_that_misbehaves_is_said_in_words(
    repo: GitFolder, tmp_path: Path, script: str
) -> None:
    fake = tmp_path / "fake"
    # The export folder is the whole PATH of a renderer.
    fake.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    fake.chmod(0o755)
    tree = repo.put({"k/kustomization.yaml": "resources: [a.yaml]", "k/a.yaml": config("a")}).commit()
    timeout = 0.5 if "sleep" in script else 20
    renderer = Renderer(
        Program(fake, Limits(timeout, 64 * 2**20, 2**20), Policy(libraries=(*PYTHON, *SHELL))),
        tmp_path / "work",
        budgets=Budgets(max_render_size=2**20),
    )
    spec = sync_spec(path="k")
    if "tail" in script:
        fake.write_text(f"#!{sys.executable}\nimport time\nx = bytearray(200 * 2**20)\ntime.sleep(600)\n")
    try:
        with pytest.raises(Problem) as raised:
            await renderer.render(tree, spec, gather(tree, spec))
    finally:
        renderer.close()
    assert raised.value.message == FAKES[script]
    over = "the setting" in FAKES[script]
    assert raised.value.reason is (Reason.TooLarge if over else Reason.RenderFailed)
    assert list((tmp_path / "work").iterdir()) == []


LOOK = """
import json, os, sys
files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(".") for name in names)
data = {"mode": oct(os.stat(".").st_mode & 0o777), "files": " ".join(files), "arguments": " ".join(sys.argv[1:])}
print(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen"}, "data": data}))
"""


async def test_the_export_is_private_and_holds_what_is_needed_alone(repo: GitFolder, tmp_path: Path) -> None:
    fake = tmp_path / "fake"
    fake.write_text(f"#!{sys.executable} -IS\n{LOOK}")
    fake.chmod(0o755)
    repo.put(
        {
            "k/kustomization.yaml": "resources: [a.yaml]",
            "k/a.yaml": config("a"),
            "k/unused.yaml": "x",
            "private/key": "secret",
        }
    )
    tree = repo.commit()
    renderer = Renderer(Program(fake, LIMITS, Policy(libraries=PYTHON)), tmp_path / "work")
    spec = sync_spec(path="k")
    (seen,) = (await renderer.render(tree, spec, gather(tree, spec))).objects
    renderer.close()
    assert seen.manifest["data"] == {
        "mode": "0o700",
        "files": "./repository/k/a.yaml ./repository/k/kustomization.yaml",
        "arguments": "build repository/k --load-restrictor LoadRestrictionsRootOnly",
    }
    assert list((tmp_path / "work").iterdir()) == []


async def test_exports_of_processes_that_are_gone_are_removed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    ended = tmp_path / f"render-{int(done.stdout)}-x"
    earlier = workspace.workspace(tmp_path)
    alive = tmp_path / f"render-{os.getppid()}-x"
    for folder in (ended, alive):
        folder.mkdir()
    (ended / "file").write_text("x")
    workspace.remove_stale(tmp_path)
    assert [folder for folder in (ended, earlier, alive) if folder.exists()] == [alive]
