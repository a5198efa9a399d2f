"""Wires what reconciles Syncs: each step is made once, complete, and is given by name what it uses (shell)."""

from __future__ import annotations

from setpoint.kube.client import Cluster
from setpoint.kube.event_recorder import Recorder
from setpoint.runtime.metrics import Metrics
from setpoint.settings import Settings
from setpoint.sources.commits import Commits
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.store.status_writer import StatusWriter
from setpoint.syncs.builder import TargetBuilder
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.reconciler import Steps, Syncs
from setpoint.syncs.steps.actors import Actors
from setpoint.syncs.steps.convergence import Converger
from setpoint.syncs.steps.deletion import Deletion, Finalizer
from setpoint.syncs.steps.drift_log import DriftLog
from setpoint.syncs.steps.gatherer import Gatherer
from setpoint.syncs.steps.object_writer import ObjectWriter
from setpoint.syncs.steps.observer import Observer
from setpoint.syncs.steps.pruner import Pruner
from setpoint.syncs.steps.registrar import Registrar
from setpoint.syncs.steps.reporter import Reporter
from setpoint.syncs.steps.wanting import Wanting
from setpoint.wall.protocol import Worker
from setpoint.watch.protocol import LiveObjects, Pods, Storage


def wired(
    settings: Settings,
    *,
    cluster: Cluster,
    informers: LiveObjects,
    pods: Pods,
    storage: Storage,
    store: Store,
    claims: Claims,
    sources: Commits,
    worker: Worker,
    writer: StatusWriter,
    recorder: Recorder,
    metrics: Metrics,
    secret_key: bytes,
    digest_key: bytes,
    dispatcher: Dispatcher,
) -> Syncs:
    """Return what reconciles Syncs, made of its steps."""
    actors = Actors(settings, cluster, informers, storage, claims)
    observer = Observer(cluster, informers)
    builder = TargetBuilder(cluster, store, sources, worker, digest_key)
    drift_log = DriftLog(informers, secret_key, metrics, dispatcher)
    pruner = Pruner(settings, cluster, informers, store, claims, sources, recorder, dispatcher)
    wanting = Wanting(claims, dispatcher, actors)
    gatherer = Gatherer(observer, informers, store, wanting, sources, dispatcher, builder, pruner)
    reporter = Reporter(informers, pods, storage, store, writer, recorder, metrics, dispatcher)
    objects = ObjectWriter(gatherer, builder, actors, wanting, dispatcher, reporter, drift_log, metrics)
    steps = Steps(
        registrar=Registrar(cluster, writer, dispatcher),
        builder=builder,
        gatherer=gatherer,
        converger=Converger(gatherer, objects, pruner, builder, actors, informers, pods, drift_log),
        objects=objects,
        pruner=pruner,
        reporter=reporter,
        finalizer=Finalizer(
            Deletion(cluster, store), observer, sources, writer, recorder, dispatcher, reporter, pruner
        ),
    )
    return Syncs(settings, store, sources, dispatcher, actors, steps)
