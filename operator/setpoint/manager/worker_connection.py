"""The worker as the operator has it, at the other end of a connection that is made anew whenever it ended (shell)."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from setpoint import __version__
from setpoint.api.hosts import HostRules
from setpoint.link.client import Client, Dial
from setpoint.link.remote import Remote
from setpoint.link.sockets import connect, user_of
from setpoint.link.turns import Turns
from setpoint.manager.patience import Patient
from setpoint.runtime.metrics import Metrics
from setpoint.settings import Settings
from setpoint.wall.messages import PROTOCOL, ApiServer, Hello
from setpoint.wall.sizes import DEFAULT, Bounds


class ConnectedWorker(Patient):
    """A worker that is dialled. `start` it, and `close` it at the end."""

    def __init__(
        self, dial: Dial, hosts: HostRules, metrics: Metrics | None = None, bounds: Bounds = DEFAULT
    ) -> None:
        """`hosts`: of which the worker is told where the API server is; `metrics`: count its deaths, and show what it tells of itself.

        `bounds`: how much of its answers is taken.
        """
        telemetry = metrics or Metrics()
        hello = Hello(PROTOCOL, __version__, tuple(ApiServer(*place) for place in hosts.api))
        # Of what comes without being asked for there are only figures (`wall.kinds.NOTICES`).
        self._client = Client(
            dial,
            hello,
            Turns(),
            notice=telemetry.worker_told,
            bounds=bounds,
            gone=telemetry.worker_died,
        )
        self._remote = Remote(self._client)
        telemetry.worker(lambda: self._client.there)
        super().__init__(self._remote, self._client.ready)

    def start(self) -> None:
        """Begin to dial."""
        self._client.start()

    async def close(self) -> None:
        """End the connection, with all that is asked over it."""
        await self._remote.close()
        await self._client.close()


def bounds_of(settings: Settings) -> Bounds:
    """Return how much of the worker's answers is taken: what the budgets allow that it has too."""
    return Bounds.of(settings.max_render_size, settings.max_objects, settings.max_yaml_values)


class ContainerWorker(ConnectedWorker):
    """A worker that listens in a folder, as the other container of our pod does; the kubelet starts it anew."""

    @classmethod
    def of(cls, settings: Settings, hosts: HostRules, metrics: Metrics | None = None) -> Self:
        """Return a started one."""
        folder = Path(settings.worker_socket)
        uid = user_of(settings.worker_user, same_user=settings.same_user)
        made = cls(lambda: connect(folder, uid), hosts, metrics, bounds_of(settings))
        made.start()
        return made
