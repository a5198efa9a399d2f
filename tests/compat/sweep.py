"""Takes the objects of each kind through the operator: apply, wait for quiet, change, drift, remove.

Each kind has a folder in Git and a Sync of its own, so that what goes wrong with one kind concerns no other.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from jsonpatch import make_patch
from tests.compat import catalog
from tests.compat.catalog import Json, Kind
from tests.compat.schema import Schemas, value_at
from tests.compat.server import Server
from tests.compat.survey import Survey, Surveyor, with_changes
from tests.e2e.conftest import OperatorProcess, World, config
from tests.kit.api import condition
from tests.kit.servers.apiproxy import ApiProxy

from setpoint.api.reasons import Reason

SECONDS = 90.0
REFUSALS = 3
"""Commits with one immutable field of each object."""
ROUNDS = 4
"""Corrections of one object within a minute that are not yet taken for a fight."""
KEEP = "keep.yaml"


@dataclass(frozen=True, slots=True)
class Finding:
    """What did not go as it should."""

    kind: Kind
    stage: str
    words: str


@dataclass(slots=True)
class Figures:
    """What was tried with one kind."""

    objects: int = 0
    fields: int = 0
    """Fields that the kind has."""
    given: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    drifted: set[str] = field(default_factory=set)
    removed: int = 0
    unset: set[str] = field(default_factory=set)
    tied: dict[str, str] = field(default_factory=dict)
    """Fields that cannot change alone, with what the server said last."""
    dropped: set[str] = field(default_factory=set)


class Sweep:
    """One run over some kinds."""

    def __init__(
        self,
        world: World,
        proxy: ApiProxy,
        operator: OperatorProcess,
        server: Server,
        kinds: Iterable[Kind],
        say: Callable[[str], None],
    ) -> None:
        self._world, self._proxy, self._operator, self._server, self._say = (
            world,
            proxy,
            operator,
            server,
            say,
        )
        self.kinds = {kind: catalog.objects()[kind] for kind in kinds}
        self.figures = {kind: Figures(objects=len(each)) for kind, each in self.kinds.items()}
        self.findings: list[Finding] = []
        self._schemas: Schemas = server.schemas()
        self._surveys: dict[Kind, list[Survey]] = {kind: [] for kind in self.kinds}
        self._commits: dict[Kind, str] = {}
        self._last: dict[Kind, list[Json]] = {}
        self._asked = 0

    def run(self, *, whole: bool) -> list[Finding]:
        """Do everything, in order; returns what went wrong. `whole`: each kind of the server has to be among them."""
        if whole:
            self._check_kinds()
        self.apply()
        self.stay_quiet()
        self.survey()
        self.change()
        self.refuse()
        self.drift()
        self.remove()
        return self.findings

    @property
    def version(self) -> str:
        """The version of the API server."""
        return self._server.version()

    def _check_kinds(self) -> None:
        for kind in set(self._server.served) - set(self.kinds):
            if str(kind) not in catalog.exceptions().kinds:
                self._find(kind, "kinds", "is served, and there is no object of it")

    def apply(self) -> None:
        """Bring all objects to the cluster by one commit."""
        for manifest in catalog.props():
            self._server.send(
                "PATCH",
                self._server.path(manifest) + "?fieldManager=test",
                manifest,
                "application/apply-patch+yaml",
            )
        self._world.source(interval="1h")
        self._commit(self.kinds, "Apply", keep=True)
        for kind in self.kinds:
            spec = {"targetNamespace": catalog.NAMESPACE, "pruneLimit": "100%", "onError": "Continue"}
            self._world.sync(_name(kind), path=str(kind), interval="1h", **spec)
        self._synced("apply")
        for kind, manifests in self.kinds.items():
            self._note_fields(kind, manifests)

    def stay_quiet(self) -> None:
        """Start the operator again, which looks at everything anew: it must write nothing."""
        self._operator.stop(signal.SIGTERM)
        self._proxy.clear()
        self._operator.start()
        self._ask()
        about = {self._server.path(m): kind for kind, each in self.kinds.items() for m in each}
        for request in self._proxy.writes:
            if kind := about.get(request.path):
                self._find(kind, "quiet", f"{request.method} {request.path}")
        for kind in self.kinds:
            summary = self._status(kind).get("summary") or {}
            if summary.get("corrected"):
                self._find(
                    kind, "quiet", f"corrected {summary['corrected']}: {self._status(kind).get('driftLog')}"
                )

    def survey(self) -> None:
        """Find out what may change."""
        surveyor = Surveyor(self._server, self._schemas, catalog.exceptions())
        work = [(kind, manifest) for kind, each in self.kinds.items() for manifest in each]
        # What is learned of a template serves all kinds that have one.
        first = [w for w in work if w[0].name == "PodTemplate"]
        rest = [w for w in work if w not in first]
        for kind, manifest in first:
            self._surveyed(kind, surveyor.survey(manifest))
        with ThreadPoolExecutor(3) as pool:
            found = pool.map(lambda w: surveyor.survey(w[1]), rest)
            for (kind, _), each in zip(rest, found, strict=True):
                self._surveyed(kind, each)
        for kind, surveys in self._surveys.items():
            self._note_survey(kind, surveys)

    def _surveyed(self, kind: Kind, found: Survey) -> None:
        self._surveys[kind].append(found)
        rounds = "+".join(str(len(each)) for each in found.rounds) or "0"
        name = found.manifest["metadata"]["name"]
        self._say(
            f"{kind} {name}: {rounds} may change, {len(found.refused)} may not, {len(found.unknown)} not alone"
        )

    def change(self) -> None:
        """Commit other values of all fields that may change, as many at once as the server accepts; then the first again."""
        for number in range(self._rounds):
            files = {kind: self._changed(kind, number) for kind in self._kinds_of(number)}
            self._commit(files, f"Change {number}")
            self._synced(f"change {number}", files)
            for kind in files:
                for found in self._surveys[kind]:
                    self._check_changes(kind, found, number)
        self._commit(self.kinds, "Back")
        self._synced("back")

    def refuse(self) -> None:
        """Commit other values of fields that may not change: the Sync says `Immutable`, and writes none of them."""
        for number in range(REFUSALS):
            files = {kind: self._with_refused(kind, number) for kind in self.kinds if self._refused(kind)}
            self._commit(files, f"Refuse {number}")
            for kind in files:
                self._check_refusals(kind, number)
        self._commit(self.kinds, "Back again")
        self._synced("back again")

    def drift(self) -> None:
        """Change by hand what may change: it is put back."""
        for number in range(self._rounds):
            kinds = self._kinds_of(number)
            before = {kind: self._corrected(kind) for kind in kinds}
            lives = {kind: self._drifted(kind, number) for kind in kinds}
            for kind in kinds:
                self._put_back(kind, number, before[kind], lives[kind])

    def remove(self) -> None:
        """Take all objects out of Git."""
        self._commit(dict.fromkeys(self.kinds, ()), "Remove")
        self._synced("remove")
        for kind, manifests in self.kinds.items():
            left = [m["metadata"]["name"] for m in manifests if not self._is_gone(m)]
            self.figures[kind].removed = len(manifests) - len(left)
            if left:
                self._find(kind, "remove", f"still there: {', '.join(left)}; {_told(self._sync(kind))}")

    # --- Git, and what the Syncs say of it

    def _commit(
        self,
        files: Mapping[Kind, Sequence[Json]],
        message: str,
        *,
        keep: bool = False,
    ) -> str:
        """Commit the objects of some kinds; those that a folder had and that are not given leave it."""
        entries: dict[str, str | None] = {}
        for kind, manifests in files.items():
            entries |= {f"{kind}/{_file(m)}": None for m in self.kinds[kind]} if not keep else {}
            entries |= {f"{kind}/{_file(m)}": json.dumps(m, indent=1) for m in manifests}
            entries |= {f"{kind}/{KEEP}": config(f"keep-{_name(kind)}", k="1")} if keep else {}
        sha = self._world.repo.commit(entries, message)
        # A Sync whose folder did not change stays at the commit before.
        self._commits |= {kind: sha for kind, each in files.items() if self._last.get(kind) != [*each]}
        self._last |= {kind: [*each] for kind, each in files.items()}
        self._world.ask("Source", "src", sha)
        self._say(f"{message}: {sum(map(len, files.values()))} objects")
        return sha

    def _synced(self, stage: str, kinds: Iterable[Kind] | None = None) -> None:
        for kind in kinds or self.kinds:
            sha = self._commits[kind]
            self._until(kind, stage, partial(_is_synced, sha=sha))

    def _until(self, kind: Kind, stage: str, fits: Callable[[Json | None], Any]) -> bool:
        known = {f.kind for f in self.findings if f.stage == stage}
        try:
            self._world.until("Sync", _name(kind), fits, seconds=SECONDS if kind not in known else 1)
        except AssertionError:
            self._find(kind, stage, _told(self._sync(kind)))
            return False
        return True

    def _ask(self) -> None:
        self._asked += 1
        for kind in self.kinds:
            self._world.ask("Sync", _name(kind), str(self._asked))
        for kind in self.kinds:
            self._until(kind, "quiet", lambda o: o and o["status"].get("requested") == str(self._asked))

    def _sync(self, kind: Kind) -> Json | None:
        return self._world.api.seek("Sync", self._world.namespace, _name(kind))

    def _status(self, kind: Kind) -> Json:
        return self._world.status(_name(kind))

    def _corrected(self, kind: Kind) -> int:
        return int((self._status(kind).get("summary") or {}).get("corrected", 0))

    def _find(self, kind: Kind, stage: str, words: str) -> None:
        self.findings.append(Finding(kind, stage, words))
        self._say(f"FOUND {kind}, {stage}: {words}")

    # --- what was set, and what may change

    def _note_fields(self, kind: Kind, manifests: Sequence[Json]) -> None:
        all_fields, figures, known = self._schemas.fields(kind), self.figures[kind], catalog.exceptions()
        for manifest in manifests:
            live = self._server.get(manifest) or {}
            for leaf in self._schemas.leaves(manifest):
                figures.given.add(leaf.field.name)
                # What is false, 0 or empty may be left out, and means the same.
                if leaf.value and not value_at(live, leaf.path, manifest)[0]:
                    figures.dropped.add(leaf.field.name)
        figures.fields = len(all_fields)
        figures.unset = set(all_fields) - figures.given
        for rows, fields, stage in (
            (known.unset, figures.unset, "unset"),
            (known.dropped, figures.dropped, "dropped"),
        ):
            for each in sorted(fields):
                if catalog.reason_of(rows, kind, each) is None:
                    self._find(kind, stage, each)

    def _note_survey(self, kind: Kind, surveys: Sequence[Survey]) -> None:
        figures = self.figures[kind]
        for found in surveys:
            figures.changed |= found.changed
            figures.refused |= {each.change.leaf.field.name for each in found.refused}
        figures.refused -= figures.changed
        told = {name: words for found in surveys for name, words in found.unknown.items()}
        figures.tied = {n: w for n, w in told.items() if n not in figures.changed | figures.refused}
        for found in surveys:
            for each in found.refused:
                if each.reason is not Reason.Immutable:
                    where = f"{found.manifest['metadata']['name']} {each.change.leaf.field.name}"
                    self._find(
                        kind,
                        "words",
                        f"{where} = {each.change.value!r} is told as {each.reason}: {each.words}",
                    )

    @property
    def _rounds(self) -> int:
        return max((len(s.rounds) for each in self._surveys.values() for s in each), default=0)

    def _kinds_of(self, number: int) -> list[Kind]:
        return [kind for kind, each in self._surveys.items() if any(len(s.rounds) > number for s in each)]

    def _changed(self, kind: Kind, number: int) -> list[Json]:
        return [_in_round(s, number) for s in self._surveys[kind]]

    def _check_changes(self, kind: Kind, found: Survey, number: int) -> None:
        """The server itself says whether Git is in effect: to apply it once more would change nothing."""
        if len(found.rounds) <= number:
            return
        live, manifest = self._server.get(found.manifest), _in_round(found, number)
        answer = self._server.applied(_with_place(manifest, live))
        name = manifest["metadata"]["name"]
        if live is None or not answer.is_accepted or _content(answer.body) != _content(live):
            self._find(
                kind,
                f"change {number}",
                f"{name} is not as Git says: {make_patch(_content(live or {}), _content(answer.body))}",
            )

    # --- what may not change

    def _refused(self, kind: Kind) -> list[Survey]:
        return [s for s in self._surveys[kind] if s.refused]

    def _with_refused(self, kind: Kind, number: int) -> list[Json]:
        return [
            with_changes(s.manifest, [_nth(s, number)]) if s.refused else s.manifest
            for s in self._surveys[kind]
        ]

    def _check_refusals(self, kind: Kind, number: int) -> None:
        sha = self._commits[kind]
        names = {s.manifest["metadata"]["name"] for s in self._refused(kind)}
        stage = f"refuse {number}"

        def fits(sync: Json | None) -> bool:
            status = (sync or {}).get("status") or {}
            told = {d["name"]: d for d in status.get("differences") or () if d["sync"] == "Failed"}
            return str((status.get("desired") or {}).get("revision")).endswith(sha) and names <= set(told)

        if not self._until(kind, stage, fits):
            return
        for each in self._status(kind)["differences"]:
            if each["name"] in names and each["sync"] == "Failed" and each["reason"] != "Immutable":
                self._find(kind, stage, f"{each['name']} is told as {each['reason']}: {each['message']}")

    # --- drift

    def _drifted(self, kind: Kind, number: int) -> list[tuple[Survey, Json]]:
        """Edit each object by hand as its round has it; returns what they were before."""
        found = []
        for each in (s for s in self._surveys[kind] if len(s.rounds) > number):
            live = self._server.get(each.manifest)
            answer = self._server.applied(_with_place(_in_round(each, number), live))
            if live is None or not answer.is_accepted:
                self._find(
                    kind,
                    f"drift {number}",
                    f"{each.manifest['metadata']['name']}: {answer.body.get('message')}",
                )
                continue
            patch = [op for op in make_patch(_content(live), _content(answer.body)) if not _is_made_up(op)]
            edited = self._server.edited(each.manifest, patch)
            if not edited.is_accepted:
                self._find(
                    kind,
                    f"drift {number}",
                    f"{each.manifest['metadata']['name']}: {edited.body.get('message')}",
                )
                continue
            found.append((each, live))
        return found

    def _put_back(self, kind: Kind, number: int, before: int, lives: Sequence[tuple[Survey, Json]]) -> None:
        def differing() -> list[str]:
            pairs = [
                (s, make_patch(_content(self._server.get(s.manifest) or {}), _content(live)))
                for s, live in lives
            ]
            return [f"{s.manifest['metadata']['name']}: {patch}" for s, patch in pairs if [*patch]]

        def fits(sync: Json | None) -> bool:
            done = int(((sync or {}).get("status") or {}).get("summary", {}).get("corrected", 0)) - before
            return done >= len(lives) and not differing()

        if self._until(kind, f"drift {number}", fits):
            self.figures[kind].drifted |= {c.leaf.field.name for s, _ in lives for c in s.rounds[number]}
        else:
            self._find(kind, f"drift {number}", "; ".join(differing())[:2000])

    def _is_gone(self, manifest: Json) -> bool:
        return self._server.get(manifest) is None


def _name(kind: Kind) -> str:
    return str(kind).lower()


def _file(manifest: Json) -> str:
    return f"{manifest['metadata']['name']}.yaml"


def _is_synced(sync: Json | None, sha: str) -> bool:
    status = (sync or {}).get("status") or {}
    revisions = [str((status.get(k) or {}).get("revision")) for k in ("desired", "applied")]
    return all(r.endswith(sha) for r in revisions) and condition(sync, "Synced").get("status") == "True"


def _told(sync: Json | None) -> str:
    status = (sync or {}).get("status") or {}
    rows = [
        f"{d['name']}: {d['sync']} {d['reason']} {d['message']}"
        for d in status.get("differences") or ()
        if d["sync"] != "Synced"
    ]
    return f"{condition(sync).get('reason')}: {condition(sync).get('message')}; {'; '.join(rows)[:1500]}"


def _in_round(found: Survey, number: int) -> Json:
    return (
        with_changes(found.manifest, found.rounds[number]) if len(found.rounds) > number else found.manifest
    )


def _nth(found: Survey, number: int) -> Any:
    """Return one of the immutable fields: the commits between them try the first, the last, and those between."""
    return found.refused[number * (len(found.refused) - 1) // (REFUSALS - 1)].change


def _with_place(manifest: Json, live: Json | None) -> Json:
    """Return a manifest with the marks of ownership that the live object has."""
    meta = dict(manifest["metadata"])
    known = (live or {}).get("metadata") or {}
    for part in ("labels", "annotations"):
        ours = {
            k: v
            for k, v in (known.get(part) or {}).items()
            if k in {"setpoint.dev/sync", "setpoint.dev/owner"}
        }
        meta[part] = {**meta.get(part, {}), **ours}
    if "namespace" in known:
        meta["namespace"] = known["namespace"]
    return {**manifest, "metadata": meta}


def _is_made_up(operation: Mapping[str, Any]) -> bool:
    """Whether a dry run made a value up that nobody may set: it gives out ports beyond the range of those that are free."""
    return str(operation["path"]).endswith(("/nodePort", "/healthCheckNodePort"))


SERVERS_OWN = {"managedFields", "resourceVersion", "generation"}
NOTES = ("setpoint.dev/", "deployment.kubernetes.io/", "deprecated.daemonset.template.generation")


def _content(obj: Json) -> Json:
    """Return what of an object Git or a person may set."""
    if "metadata" not in obj:
        return {}
    meta = {k: v for k, v in obj["metadata"].items() if k not in SERVERS_OWN}
    notes = {k: v for k, v in (meta.get("annotations") or {}).items() if not k.startswith(NOTES)}
    kept = {k: v for k, v in meta.items() if k != "annotations"} | ({"annotations": notes} if notes else {})
    content = {**{k: v for k, v in obj.items() if k != "status"}, "metadata": kept}
    if obj.get("kind") == "Node":
        # The control plane notes there what it thinks of the node.
        content["spec"] = {k: v for k, v in obj["spec"].items() if k != "taints"}
    return content
