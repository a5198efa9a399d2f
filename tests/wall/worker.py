"""A worker that makes objects of nothing: `python -m tests.wall.worker <folder, or number of a connected socket>`.

What a request asks for is in `spec` of a build: so many `objects` of so many bytes (`size`), or to `hang` until it is cancelled.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvloop

from setpoint.api.reasons import Problem, Reason
from setpoint.link import sockets
from setpoint.link.listener import Listener
from setpoint.link.server import Handler, Server, greeting, typed
from setpoint.link.stream import Stream
from setpoint.link.turns import Turns
from setpoint.wall import messages as m

WELCOME = m.Welcome(m.PROTOCOL, "test", 1, "cache-1")


def made(count: int, size: int) -> tuple[m.Made, ...]:
    return tuple(
        m.Made(
            f"a.yaml:{n}",
            n,
            1,
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"a-{n}"},
                "data": {"x": "x" * size},
            },
        )
        for n in range(count)
    )


class Work:
    """The handlers, and how often each came how far."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.turns = Turns()

    @property
    def handlers(self) -> Mapping[type[Any], Handler]:
        return {
            m.Hello: greeting(WELCOME),
            m.Build: self.build,
            m.Compare: self.compare,
            m.Check: self.check,
            m.Fetch: self.fetch,
            m.Drop: self.drop,
        }

    async def serve(self, stream: Stream) -> None:
        server = Server(stream, typed(self.handlers, self.turns))
        server.tell(m.Stats({"reader": 1}, {"reader": 1}, 0, 0.0))
        await server.run()

    async def build(self, request: m.Build) -> m.Built:
        spec = request.look.spec
        self.counts["begun"] += 1
        if spec.get("hang"):
            try:
                await asyncio.Event().wait()
            finally:
                self.counts["cancelled"] += 1
        return m.Built(request.look.sha, "set", made(spec["objects"], spec.get("size", 0)))

    async def compare(self, request: m.Compare) -> m.Compared:
        return m.Compared(request.read_sets)

    async def check(self, request: m.Check) -> m.Checked:
        if request.ref.branch == "bug":
            raise ZeroDivisionError
        raise Problem(Reason.GitFailed, "ä" * 5_000, retry=True)

    async def fetch(self, request: m.Fetch) -> m.Fetched:
        """Tell a count: `sha` is its name."""
        return m.Fetched(str(os.getpid() if request.sha == "pid" else self.counts[request.sha]))

    async def drop(self, request: m.Drop) -> None:
        self.counts["dropped"] += len(request.digests)


async def main(where: str) -> None:
    work = Work()
    if where.isdigit():
        await work.serve(await Stream.over(socket.socket(fileno=int(where))))
    else:
        await Listener(sockets.listen(Path(where)), os.getuid(), work.serve).run()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
