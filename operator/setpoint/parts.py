"""The parts that reconciles share; made once in `controllers`."""

from __future__ import annotations

from dataclasses import dataclass

from setpoint.claims import Claims
from setpoint.cluster import Cluster
from setpoint.events import Events
from setpoint.live import Live
from setpoint.objects import SyncKey
from setpoint.podwatch import PodWatch
from setpoint.queue import WorkQueue
from setpoint.render import Renderer
from setpoint.settings import Settings
from setpoint.sources import Sources
from setpoint.status_writer import StatusWriter
from setpoint.store import Store
from setpoint.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Parts:
    """What a reconcile works with."""

    settings: Settings
    cluster: Cluster
    live: Live
    pods: PodWatch
    store: Store
    claims: Claims
    sources: Sources
    renderer: Renderer
    writer: StatusWriter
    events: Events
    telemetry: Telemetry
    secret_key: bytes
    source_queue: WorkQueue[SyncKey]
