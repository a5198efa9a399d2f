"""A connection of an operator ends with all that was started for it, whoever is in a hurry."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path

import pytest
from tests.kit.servers.repo import Repo

from setpoint.link.caller import Caller
from setpoint.link.sockets import pair
from setpoint.link.stream import Stream
from setpoint.link.turns import Turns
from setpoint.settings import Settings
from setpoint.wall.messages import PROTOCOL, Check, Checked, GitRef, Hello, Login, Place
from setpoint.worker.folders.scratch import PREFIX, Remover
from setpoint.worker.process import serve

pytestmark = pytest.mark.asyncio


def children() -> set[int]:
    pid = os.getpid()
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


async def test_the_end_of_a_connection_is_not_cut_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator that dials anew has the worker cancel the old connection, which may be closing already."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    repo, before, remover = Repo(tmp_path / "app.git"), children(), Remover()
    repo.commit({"a.yaml": "a: b"})
    settings = Settings(
        namespace="sys", cluster_id="c", cache_dir=str(tmp_path / "cache"), allow_file_urls=True
    )
    ours, theirs = pair()
    serving = asyncio.create_task(serve(settings, remover, await Stream.over(theirs)))
    stream = await Stream.over(ours)
    caller = Caller(stream, Turns())
    running = asyncio.create_task(caller.run())
    await caller.call(Hello(PROTOCOL, "x", ()))
    place = Place("team", f"file://{repo.path}", Login(), submodules=False, timeout=60.0)
    assert isinstance(await caller.call(Check(place, GitRef(branch="main"))), Checked)
    launchers = children() - before
    assert len(launchers) == 2
    assert list(tmp_path.glob(f"{PREFIX}*"))
    await stream.closed()
    await running
    while not serving.done():
        serving.cancel()
        await asyncio.sleep(0)
    left = children() & launchers
    for each in left:
        os.kill(each, signal.SIGKILL)
    await asyncio.to_thread(remover.finish)
    assert not left
    assert not list(tmp_path.glob(f"{PREFIX}*"))
